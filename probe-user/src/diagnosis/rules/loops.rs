//! The rule about packets that routers send to each other until their TTL runs out.

use std::net::IpAddr;

use probe_ebpf::{Echo, Hop};

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, Witness},
        ledger::Gap,
        path::Side,
        places::{DropLocation, DropPoint, host_of},
        rules::said,
    },
    model::trace::HopTrace,
};

/// A probe that came in to one place this often went round: no bridge makes as many copies.
const ROUNDS: u32 = 3;

/// Judges a gap whose probes came in to watched places again and again.
pub(super) fn looped(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let leg = gap.leg;
    let mut round: Vec<(Side, u32)> = evidence
        .sides()
        .filter_map(|side| Some((side, times_in(evidence, side, leg, gap)?)))
        .filter(|(_, times)| *times >= ROUNDS)
        .collect();
    round.sort_by_key(|(side, _)| *side);
    let (last, times) = *round.last()?;
    let names: Vec<String> = round.iter().map(|(side, _)| evidence.name(*side)).collect();
    let who = match names.as_slice() {
        [one] => format!("{one} gets them back again and again"),
        [rest @ .., end] => format!("{} and {end} send them to each other", rest.join(", ")),
        [] => return None,
    };
    let icmp = gap.icmp(evidence).and_then(|error| said::icmp_cause(error).icmp);
    let detail = Some(format!("a loop: {who} until the TTL runs out, {times} times"));
    let cause = Cause { reason: Some("TTL".to_owned()), detail, icmp, ..Cause::default() };
    let ends = round.iter().map(|(side, _)| *side).find(|side| *side == gap.last_seen.host).unwrap_or(last);
    let spot = DropLocation { leg, host: host_of(ends), place: DropPoint::RouteIn };
    Ruling::at(vec![spot], cause, Witness::Counters, Weight::Direct)
}

/// Judges routers that answered from several distances: what a rising TTL found where nobody watches.
pub(super) fn walked(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let icmp = gap.icmp(evidence)?;
    let walk = evidence.walk.as_ref().filter(|_| icmp.tells_expiry())?;
    let mut round: Vec<IpAddr> = Vec::new();
    for from in walk.steps.iter().filter_map(|step| step.from) {
        let times = walk.steps.iter().filter(|step| step.from == Some(from)).count();
        if times > 1 && from != evidence.target.address && !round.contains(&from) {
            round.push(from);
        }
    }
    let who = match round.as_slice() {
        // One alone may answer to any TTL: a rule sets it.
        [] | [_] => return None,
        [rest @ .., end] => {
            let rest: Vec<String> = rest.iter().map(ToString::to_string).collect();
            format!("{} and {end} send them to each other", rest.join(", "))
        }
    };
    let detail = Some(format!("a loop: {who} until the TTL runs out"));
    let cause = Cause { reason: Some("TTL".into()), detail, icmp: said::icmp_cause(icmp).icmp, ..Cause::default() };
    Ruling::at(gap.spots_at(&[DropPoint::Network]), cause, Witness::IcmpError, Weight::Direct)
}

/// Counts how often one of the gap's probes came in to a place at most, over all of its interfaces.
fn times_in(evidence: &Evidence, side: Side, leg: Echo, gap: &Gap) -> Option<u32> {
    let traces: Vec<&HopTrace> = match evidence.place(side) {
        Some(place) => place.ports.iter().filter_map(|port| port.hops.get(&Hop::NetifIn)).collect(),
        None => evidence.host(side).hops.get(&Hop::NetifIn).into_iter().collect(),
    };
    let times = |probe: &u16| -> u32 {
        traces.iter().filter_map(|trace| trace.seen(leg)?.get(probe)).map(|passage| passage.times).sum()
    };
    gap.probes.iter().map(times).max()
}
