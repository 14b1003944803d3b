//! XDP from the user side: attaches the program as a link, which ends with its holder or its pin.

use std::io;

use aya::programs::{
    ProgramError, Xdp, XdpMode,
    links::FdLink,
    xdp::{XdpLink, XdpLinkId},
};
use nix::libc;
use probe_ebpf::Hop;

use super::ProgramLookup;
use crate::{
    ebpf::{
        KernelError,
        foreign::{self, Owner},
    },
    host::device::{AttachMode, Device},
};

/// Attaches the loaded program of `programs` to `device` and returns the link: dropping it detaches.
///
/// # Errors
/// [`KernelError::XdpTaken`] if another program holds the hook, [`KernelError::AttachXdp`] otherwise.
pub fn attach(programs: &mut impl ProgramLookup, device: &Device, mode: AttachMode) -> Result<FdLink, KernelError> {
    attach_program(programs, device, super::program(Hop::XdpIn, mode), mode)
}

/// Attaches the program `name`, like [`attach`].
///
/// # Errors
/// As for [`attach`].
pub fn attach_program(
    programs: &mut impl ProgramLookup,
    device: &Device,
    name: &'static str,
    mode: AttachMode,
) -> Result<FdLink, KernelError> {
    let program = programs.named(name).ok_or(KernelError::NoProgram { name })?;
    let program: &mut Xdp = program.try_into().map_err(|_| KernelError::NoProgram { name })?;
    let link = link(program, device, mode).map_err(|error| refusal(error, device, mode))?;
    tracing::info!("{name} attached to {} ({})", device.name, mode.name());
    Ok(link)
}

fn link(program: &mut Xdp, device: &Device, mode: AttachMode) -> Result<FdLink, ProgramError> {
    let mode = match mode {
        AttachMode::Native => XdpMode::Driver,
        AttachMode::Generic | AttachMode::TcInstead => XdpMode::Skb,
    };
    let id: XdpLinkId = program.attach_to_if_index(device.ifindex, mode)?;
    let link: XdpLink = program.take_link(id)?;
    // Only kernels before 5.9 attach without a link, and probe does not run on those.
    FdLink::try_from(link).map_err(|error| ProgramError::IOError(io::Error::other(error)))
}

/// Converts the kernel's refusal. EBUSY: a program holds this mode; EEXIST: one holds another mode (`dev_xdp_attach` in
/// `net/core/dev.c`).
fn refusal(error: ProgramError, device: &Device, mode: AttachMode) -> KernelError {
    let errno = match &error {
        ProgramError::SyscallError(call) => call.io_error.raw_os_error(),
        _ => None,
    };
    match errno {
        Some(libc::EBUSY | libc::EEXIST) => taken(device),
        Some(errno) => KernelError::AttachXdp {
            interface: device.name.clone(),
            mode: mode.name(),
            source: io::Error::from_raw_os_error(errno),
        },
        None => KernelError::AttachXdp {
            interface: device.name.clone(),
            mode: mode.name(),
            source: io::Error::other(error),
        },
    }
}

/// Reports which program holds XDP on `device` now.
fn taken(device: &Device) -> KernelError {
    let now = Device::find(&device.name).ok();
    let holder = now.as_ref().and_then(foreign::xdp_program);
    let owner = holder.as_ref().map_or(Owner::Unknown, foreign::Program::owner);
    let by = holder.map_or_else(|| "one that could not be read".to_owned(), |program| program.to_string());
    KernelError::XdpTaken { interface: device.name.clone(), by, owner }
}
