//! The rule about packets that were handed to a program through a tun device.

use probe_ebpf::Hop;

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, Witness},
        ledger::Gap,
        path::Side,
        places::{DropLocation, DropPoint, host_of},
    },
    model::trace::{Finding, PortTrace, TunProgram},
};

/// Judges packets that left by a tun device, so that a program on that host has them.
pub(super) fn handed(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let side = gap.last_seen.host;
    gap.spots.iter().any(|spot| spot.place == DropPoint::Network).then_some(())?;
    let devices = left_by(evidence, side, gap);
    let (interface, programs) = evidence.findings(side).find_map(|finding| match finding {
        Finding::Tun { interface, programs } if devices.contains(&interface.as_str()) => Some((interface, programs)),
        _ => None,
    })?;
    let first = programs.first()?;
    let names: Vec<String> = programs.iter().map(TunProgram::name).collect();
    let stuck = programs.iter().all(|program| program.sockets == 0);
    let (holds, has) = if programs.len() == 1 { ("which holds", "has") } else { ("which share", "have") };
    let why = if stuck {
        format!("and {has} no socket to send them on by")
    } else {
        "and none of them came out again".to_owned()
    };
    let detail = Some(format!("handed to {}, {holds} the tun device {interface} {why}", names.join(" and ")));
    let cause = Cause { reason: Some("TUN".into()), program: Some(first.name()), detail, ..Cause::default() };
    let spot = DropLocation { leg: gap.leg, host: host_of(side), place: DropPoint::TunProgram };
    let mut spots = vec![spot];
    if !stuck {
        // What the program sent on may be lost after it.
        spots.extend(gap.spots_at(&[DropPoint::Network]));
    }
    Ruling::at(spots, cause, Witness::DeviceCounter, if stuck { Weight::Explains } else { Weight::Suggests })
}

/// Returns the devices by which probes of the gap left `side`.
fn left_by<'a>(evidence: &'a Evidence, side: Side, gap: &Gap) -> Vec<&'a str> {
    let Some(place) = evidence.place(side) else { return vec![evidence.crossed(side, gap.leg, false)] };
    let sent = |port: &&PortTrace| {
        let passed = |hop: Hop| {
            port.seen(hop, gap.leg).is_some_and(|seen| gap.probes.iter().any(|probe| seen.contains_key(probe)))
        };
        passed(Hop::DevQueue) || passed(Hop::Xmit)
    };
    place.ports.iter().filter(sent).map(|port| port.interface.as_str()).collect()
}
