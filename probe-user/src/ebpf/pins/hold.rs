//! How a filter stays on its interface, and how its program is replaced without a gap.

use aya::Ebpf;
use probe_ebpf::Direction;

use super::{KernelError, generation::FilterProgram, place::FilterDir};
use crate::{
    ebpf::{
        bpf_sys,
        hops::{self, clsact, tc},
    },
    host::device::{AttachMode, Device, XdpPurpose, xdp_mode},
    model::attach::{Attach, TcChoice},
};

/// Where a filter is to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterHook {
    /// At XDP, which sees packets that enter.
    Xdp,
    /// At tc.
    Tc(Direction),
}

impl FilterHook {
    /// Returns the direction of the packets that are filtered there.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Xdp => Direction::In,
            Self::Tc(direction) => direction,
        }
    }
}

/// Returns the program that filters at `hook` of `device`.
pub(super) fn runner(device: &Device, hook: FilterHook, attach: Attach) -> Result<FilterProgram, KernelError> {
    let choice = xdp_mode(device, attach.xdp, XdpPurpose::Drop)?;
    match hook {
        FilterHook::Tc(direction) => Ok(FilterProgram::at_tc(direction)),
        FilterHook::Xdp if choice.mode == AttachMode::TcInstead => {
            Err(KernelError::NoXdp { interface: device.name.clone(), why: choice.why })
        }
        FilterHook::Xdp => Ok(FilterProgram { hop: probe_ebpf::Hop::XdpIn, mode: choice.mode }),
    }
}

/// Attaches the program of `runner` so that it stays when this process ends.
pub(super) fn attach(
    programs: &mut Ebpf,
    device: &Device,
    runner: FilterProgram,
    choice: TcChoice,
    place: &FilterDir,
) -> Result<(), KernelError> {
    let link = if runner.mode != AttachMode::TcInstead {
        hops::xdp::attach(programs, device, runner.mode)?
    } else if choice == TcChoice::Clsact {
        return on_clsact(programs, device, runner, place);
    } else {
        match tc::attach_tcx_link(programs, device, runner.hop) {
            Err(error) if choice == TcChoice::Auto && tc::is_unknown_to_kernel(&error) => {
                return on_clsact(programs, device, runner, place);
            }
            link => link?,
        }
    };
    // The link comes last: pins without one were left by a killed process, and are swept.
    let path = place.link();
    link.pin(&path).map(drop).map_err(|source| KernelError::Pin { path, source })
}

fn on_clsact(
    programs: &mut Ebpf,
    device: &Device,
    runner: FilterProgram,
    place: &FilterDir,
) -> Result<(), KernelError> {
    let made = !clsact::is_there_for_others(device.ifindex);
    place.note_clsact(made).map_err(|source| KernelError::File { doing: "make", path: place.folder(), source })?;
    tc::on_clsact(programs, device, runner.hop, clsact::attach_lasting)
}

/// Makes `place` run the program of `runner` instead of its current one, from one packet to the next.
pub(super) fn replace(
    programs: &mut Ebpf,
    device: &Device,
    runner: FilterProgram,
    place: &FilterDir,
) -> Result<(), KernelError> {
    if place.is_on_clsact() {
        return tc::on_clsact(programs, device, runner.hop, clsact::replace_lasting);
    }
    let name = runner.program();
    let program = programs.program(name).ok_or(KernelError::NoProgram { name })?;
    let program = program.fd().map_err(|_| KernelError::NoProgram { name })?;
    let updated = bpf_sys::open_pin(&place.link()).and_then(|link| bpf_sys::update_link(&link, program));
    updated.map_err(|source| KernelError::Replace { interface: device.name.clone(), source })
}
