//! tc from the user side: a TCX link if the kernel has them, else a filter on a clsact qdisc.

use aya::programs::{
    LinkOrder, ProgramError, SchedClassifier,
    links::FdLink,
    tc::{SchedClassifierLink, TcAttachOptions},
};
use nix::libc;
use probe_ebpf::{Direction, Hop};

use super::{
    ProgramLookup,
    clsact::{self, Clsact, attach_type},
};
use crate::{
    ebpf::KernelError,
    host::device::{AttachMode, Device},
    model::attach::TcChoice,
};

/// Where a tc program is attached; dropping it detaches.
pub enum TcLink {
    /// A TCX link: the kernel removes it with its holder, even one that is killed.
    Tcx(SchedClassifierLink),
    /// A filter on a qdisc: [`Clsact`] makes sure that it is removed.
    Clsact(Clsact),
}

/// Attaches the loaded program of `hop` to `device`: first of all at ingress, last of all at egress, so that it counts what
/// reaches the host before any other program decides, and what leaves it after all of them have.
pub fn attach(
    programs: &mut impl ProgramLookup,
    device: &Device,
    hop: Hop,
    choice: TcChoice,
) -> Result<TcLink, KernelError> {
    attach_program(programs, device, name(hop), hop.direction(), choice)
}

/// Attaches the program `name` to that side of `device`, like [`attach`].
pub fn attach_program(
    programs: &mut impl ProgramLookup,
    device: &Device,
    name: &'static str,
    direction: Direction,
    choice: TcChoice,
) -> Result<TcLink, KernelError> {
    let program = classifier(programs, name)?;
    let (link, how) = match choice {
        TcChoice::Tcx => (attach_tcx(program, device, direction), "TCX"),
        TcChoice::Clsact => (attach_clsact(program, device, direction), "clsact"),
        TcChoice::Auto => match attach_tcx(program, device, direction) {
            // The answer of kernels before 6.6.
            Err(error) if is_unknown(&error) => (attach_clsact(program, device, direction), "clsact"),
            attached => (attached, "TCX"),
        },
    };
    let link = link.map_err(|source| refusal(device, how, source))?;
    tracing::info!("{name} attached to {} ({how})", device.name);
    Ok(link)
}

/// Attaches the loaded program of `hop` as a TCX link, which can be pinned.
pub fn attach_tcx_link(programs: &mut impl ProgramLookup, device: &Device, hop: Hop) -> Result<FdLink, KernelError> {
    let program = classifier(programs, name(hop))?;
    let link = tcx_link(program, device, hop.direction())
        .and_then(|link| FdLink::try_from(link).map_err(|error| ProgramError::IOError(std::io::Error::other(error))));
    link.map_err(|source| refusal(device, "TCX", source))
}

/// Reports whether the kernel refused because it has no TCX.
pub fn is_unknown_to_kernel(error: &KernelError) -> bool {
    matches!(error, KernelError::AttachTc { source, .. } if is_unknown(source))
}

/// Calls `work`, a function of [`clsact`], with the loaded program of `hop`.
pub fn on_clsact(
    programs: &mut impl ProgramLookup,
    device: &Device,
    hop: Hop,
    work: impl FnOnce(&mut SchedClassifier, &Device, Direction) -> Result<(), ProgramError>,
) -> Result<(), KernelError> {
    let program = classifier(programs, name(hop))?;
    work(program, device, hop.direction()).map_err(|source| refusal(device, "clsact", source))
}

/// Returns the name of the program of `hop` on this kernel.
fn name(hop: Hop) -> &'static str {
    super::program(hop, AttachMode::TcInstead)
}

fn classifier<'p>(
    programs: &'p mut impl ProgramLookup,
    name: &'static str,
) -> Result<&'p mut SchedClassifier, KernelError> {
    let program = programs.named(name).ok_or(KernelError::NoProgram { name })?;
    program.try_into().map_err(|_| KernelError::NoProgram { name })
}

fn refusal(device: &Device, how: &'static str, source: ProgramError) -> KernelError {
    KernelError::AttachTc { interface: device.name.clone(), how, source: Box::new(source) }
}

fn is_unknown(error: &ProgramError) -> bool {
    matches!(error, ProgramError::SyscallError(call) if call.io_error.raw_os_error() == Some(libc::EINVAL))
}

fn attach_clsact(program: &mut SchedClassifier, device: &Device, direction: Direction) -> Result<TcLink, ProgramError> {
    clsact::attach(program, device, direction).map(TcLink::Clsact)
}

fn attach_tcx(program: &mut SchedClassifier, device: &Device, direction: Direction) -> Result<TcLink, ProgramError> {
    tcx_link(program, device, direction).map(TcLink::Tcx)
}

fn tcx_link(
    program: &mut SchedClassifier,
    device: &Device,
    direction: Direction,
) -> Result<SchedClassifierLink, ProgramError> {
    let order = match direction {
        Direction::In => LinkOrder::first(),
        Direction::Out => LinkOrder::last(),
    };
    let options = TcAttachOptions::TcxOrder(order);
    let id = program.attach_with_options(&device.name, attach_type(direction), options)?;
    program.take_link(id)
}
