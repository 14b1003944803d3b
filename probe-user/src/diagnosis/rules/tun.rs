//! The rule about packets that were handed to a program through a tun device.

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, Witness},
        ledger::Gap,
        places::{DropLocation, DropPoint, host_of},
    },
    model::trace::{Finding, TunProgram},
};

/// Judges packets that left by a tun device, so that a program of that very host has them.
pub(super) fn handed(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let side = gap.last_seen.host;
    gap.spots.iter().any(|spot| spot.place == DropPoint::Network).then_some(())?;
    let device = evidence.crossed(side, gap.leg, false);
    let (interface, programs) = evidence.findings(side).find_map(|finding| match finding {
        Finding::Tun { interface, programs } if interface == device => Some((interface, programs)),
        _ => None,
    })?;
    let first = programs.first()?;
    let names: Vec<String> = programs.iter().map(TunProgram::name).collect();
    let stuck = programs.iter().all(|program| program.sockets == 0);
    let (holds, has) = if programs.len() == 1 { ("which holds", "has") } else { ("which share", "have") };
    let why = if stuck {
        format!("and {has} no socket to send them on by")
    } else {
        "and nothing of them came out again".to_owned()
    };
    let detail = Some(format!("handed to {}, {holds} the tun device {interface} {why}", names.join(" and ")));
    let cause = Cause { reason: Some("TUN".into()), program: Some(first.name()), detail, ..Cause::default() };
    let spot = DropLocation { leg: gap.leg, host: host_of(side), place: DropPoint::TunProgram };
    let mut spots = vec![spot];
    if !stuck {
        // What the program sent on may be lost behind it.
        spots.extend(gap.spots_at(&[DropPoint::Network]));
    }
    Ruling::at(spots, cause, Witness::DeviceCounter, if stuck { Weight::Explains } else { Weight::Suggests })
}
