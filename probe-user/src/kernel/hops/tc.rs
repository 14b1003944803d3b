//! tc from the user side: a TCX link where the kernel has them, else a filter on a clsact qdisc.

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier, TcAttachType,
    tc::{SchedClassifierLink, TcAttachOptions},
};
use nix::libc;
use probe_ebpf::{Direction, Hop};

use super::{
    Programs,
    clsact::{self, Clsact},
};
use crate::{attach::TcChoice, device::Device, kernel::Error};

/// Where a tc program is attached; dropping it detaches.
pub enum TcLink {
    /// A TCX link: goes away with its holder, also when that is killed.
    Tcx(SchedClassifierLink),
    /// A filter on a qdisc: [`Clsact`] sees that it goes away.
    Clsact(Clsact),
}

/// Attaches the loaded program of `hop` to `device`: first of all at ingress, last of all at egress, so that it counts
/// what reaches the host before anybody else decides, and what leaves it after everybody has.
pub fn attach(programs: &mut impl Programs, device: &Device, hop: Hop, choice: TcChoice) -> Result<TcLink, Error> {
    attach_program(programs, device, hop.row().program, hop.direction(), choice)
}

/// The same for the program called `name`, on that side of `device`.
pub fn attach_program(
    programs: &mut impl Programs,
    device: &Device,
    name: &'static str,
    direction: Direction,
    choice: TcChoice,
) -> Result<TcLink, Error> {
    let program = programs.named(name).ok_or(Error::NoProgram { name })?;
    let program: &mut SchedClassifier = program.try_into().map_err(|_| Error::NoProgram { name })?;
    let (link, how) = match choice {
        TcChoice::Tcx => (attach_tcx(program, device, direction), "TCX"),
        TcChoice::Clsact => (attach_clsact(program, device, direction), "clsact"),
        TcChoice::Auto => match attach_tcx(program, device, direction) {
            // What kernels before 6.6 answer.
            Err(error) if is_unknown(&error) => (attach_clsact(program, device, direction), "clsact"),
            attached => (attached, "TCX"),
        },
    };
    let link =
        link.map_err(|source| Error::AttachTc { interface: device.name.clone(), how, source: Box::new(source) })?;
    tracing::info!("{name} attached to {} ({how})", device.name);
    Ok(link)
}

fn is_unknown(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(call) if call.io_error.raw_os_error() == Some(libc::EINVAL))
}

fn attach_clsact(program: &mut SchedClassifier, device: &Device, direction: Direction) -> Result<TcLink, ProgramError> {
    clsact::attach(program, device, direction).map(TcLink::Clsact)
}

fn attach_tcx(program: &mut SchedClassifier, device: &Device, direction: Direction) -> Result<TcLink, ProgramError> {
    let order = match direction {
        Direction::In => LinkOrder::first(),
        Direction::Out => LinkOrder::last(),
    };
    let options = TcAttachOptions::TcxOrder(order);
    let id = program.attach_with_options(&device.name, attach_type(direction), options)?;
    program.take_link(id).map(TcLink::Tcx)
}

/// The side of the device that `direction` means.
pub(super) fn attach_type(direction: Direction) -> TcAttachType {
    match direction {
        Direction::In => TcAttachType::Ingress,
        Direction::Out => TcAttachType::Egress,
    }
}

/// Filter priorities run from 1, asked first, to 65535, asked last.
pub(super) fn priority(direction: Direction) -> u16 {
    match direction {
        Direction::In => 1,
        Direction::Out => u16::MAX,
    }
}
