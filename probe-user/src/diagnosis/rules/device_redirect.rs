//! The rule about packets that a program or rule at a device sends to another device, past routing.

use probe_ebpf::Hop;

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, Witness},
        ledger::Gap,
        path::{Side, Station},
        places::{DropLocation, DropPoint, host_of},
    },
    model::trace::{Drop, Finding, OtherDevice, benign::is_no_loss},
};

/// The reason of a stop after a redirection.
pub(in crate::diagnosis) const REDIRECTED: &str = "REDIRECTED";

/// Judges packets that were redirected to a device from which they came to nobody.
pub(super) fn redirected(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let side = gap.last_seen.host;
    let other = to_device(gap, evidence)?;
    let in_gap = [DropPoint::TcIn, DropPoint::NfIngress];
    let inwards = gap.spots_at(&in_gap).iter().any(|spot| spot.side() == Some(side));
    let left = matches!(gap.last_seen.station, Station::Hop(Hop::TcOut | Hop::DevQueue | Hop::Xmit));
    let points = match (inwards, left) {
        (true, _) => in_gap,
        (false, true) => [DropPoint::TcOut, DropPoint::NfEgress],
        (false, false) => return None,
    };
    // nftables' egress chains come before tc: they let pass what tc counted.
    let by_tc = !inwards
        && evidence
            .host(side)
            .hop(Hop::TcOut)
            .seen(gap.leg)
            .is_some_and(|seen| gap.probes.iter().all(|probe| seen.contains_key(probe)));
    let at = |place| DropLocation { leg: gap.leg, host: host_of(side), place };
    let there = |point: DropPoint| {
        evidence.findings(side).any(|finding| match finding {
            Finding::Program { at, .. } => DropPoint::of(*at) == Some(point),
            Finding::Chain { hook, .. } => point.hook() == Some(*hook),
            _ => false,
        })
    };
    let mut spots: Vec<DropLocation> = points.into_iter().filter(|point| there(*point)).map(at).collect();
    if by_tc {
        spots.retain(|spot| spot.place == DropPoint::TcOut);
    }
    if spots.is_empty() {
        spots.push(at(points[0]));
    }
    let program = evidence.findings(side).find_map(|finding| match finding {
        Finding::Program { at, who, .. } if DropPoint::of(*at) == Some(spots[0].place) => Some(who.clone()),
        _ => None,
    });
    let cause = Cause {
        reason: Some(REDIRECTED.into()),
        program,
        detail: Some(said(evidence, side, other)),
        ..Cause::default()
    };
    let of_gap = |drop: &&Drop| drop.leg == gap.leg && drop.probe.is_some_and(|probe| gap.probes.contains(&probe));
    let freed = evidence.drops(side).iter().any(|drop| of_gap(&drop) && !is_no_loss(drop));
    let mut beyond = gap.spots_at(&[DropPoint::Network]);
    if freed || beyond.is_empty() {
        let witness = if freed && left { Witness::DropEvent } else { Witness::Counters };
        return Ruling::at(spots, cause, witness, Weight::Direct);
    }
    // Whoever is behind that device may be the intended one, and may have lost them.
    spots.append(&mut beyond);
    Ruling::at(spots, cause, Witness::Counters, Weight::Suggests)
}

/// Returns the device to which all packets of the gap were redirected on the host that saw them last.
pub(in crate::diagnosis) fn to_device<'a>(gap: &Gap, evidence: &'a Evidence) -> Option<&'a OtherDevice> {
    let side = gap.last_seen.host;
    matches!(side, Side::Local | Side::Peer).then_some(())?;
    let others = evidence.host(side).other_devices.iter();
    let all = |other: &&OtherDevice| gap.probes.iter().all(|probe| other.probes.contains(probe));
    others.filter(|other| other.redirected && other.leg == gap.leg).find(all)
}

/// Says from which device to which they went, as a clause.
pub(in crate::diagnosis) fn said(evidence: &Evidence, side: Side, other: &OtherDevice) -> String {
    format!("redirected from {} to {}", evidence.interface(side), other.interface)
}
