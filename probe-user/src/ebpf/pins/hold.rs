//! How a filter holds on to its interface, and how its program is replaced without a gap.

use aya::Ebpf;
use probe_ebpf::Direction;

use super::{Error, generation::Runner, place::Place};
use crate::{
    ebpf::{
        bpf_sys,
        hops::{self, clsact, tc},
    },
    host::device::{Device, Mode, Purpose, xdp_mode},
    model::attach::{Attach, TcChoice},
};

/// Where a filter is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// At XDP, which sees packets that enter.
    Xdp,
    /// At tc.
    Tc(Direction),
}

impl Hook {
    /// Which way the packets go that are filtered there.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Xdp => Direction::In,
            Self::Tc(direction) => direction,
        }
    }
}

/// Which program filters at `hook` of `device`.
pub(super) fn runner(device: &Device, hook: Hook, attach: Attach) -> Result<Runner, Error> {
    let choice = xdp_mode(device, attach.xdp, Purpose::Drop)?;
    match hook {
        Hook::Tc(direction) => Ok(Runner::at_tc(direction)),
        Hook::Xdp if choice.mode == Mode::TcInstead => {
            Err(Error::NoXdp { interface: device.name.clone(), why: choice.why })
        }
        Hook::Xdp => Ok(Runner { hop: probe_ebpf::Hop::XdpIn, mode: choice.mode }),
    }
}

/// Attaches the program of `runner` so that it stays when this process ends.
pub(super) fn attach(
    programs: &mut Ebpf,
    device: &Device,
    runner: Runner,
    choice: TcChoice,
    place: &Place,
) -> Result<(), Error> {
    let link = if runner.mode != Mode::TcInstead {
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
    // The link comes last: pins without one are what a killed process left, and are swept.
    let path = place.link();
    link.pin(&path).map(drop).map_err(|source| Error::Pin { path, source })
}

fn on_clsact(programs: &mut Ebpf, device: &Device, runner: Runner, place: &Place) -> Result<(), Error> {
    let made = !clsact::is_there_for_others(device.ifindex);
    place.note_clsact(made).map_err(|source| Error::File { doing: "make", path: place.folder(), source })?;
    tc::on_clsact(programs, device, runner.hop, clsact::attach_lasting)
}

/// Lets `place` run the program of `runner` instead of the one it runs, from one packet to the next.
pub(super) fn replace(programs: &mut Ebpf, device: &Device, runner: Runner, place: &Place) -> Result<(), Error> {
    if place.is_on_clsact() {
        return tc::on_clsact(programs, device, runner.hop, clsact::replace_lasting);
    }
    let name = runner.program();
    let program = programs.program(name).ok_or(Error::NoProgram { name })?;
    let program = program.fd().map_err(|_| Error::NoProgram { name })?;
    let updated = bpf_sys::open_pin(&place.link()).and_then(|link| bpf_sys::update_link(&link, program));
    updated.map_err(|source| Error::Replace { interface: device.name.clone(), source })
}
