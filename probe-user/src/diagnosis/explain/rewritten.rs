//! Answers to an address by which somebody on the way replaced the sender's.

use std::net::IpAddr;

use probe_ebpf::{Echo, Hop};

use super::{StopCase, StopExplanation};
use crate::diagnosis::{alterations, path::Side, places::DropPoint};

/// Explains replies for whose next hop nobody answers, if they are not for the sender's address but for the one that
/// requests came with.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    (case.stop.place == DropPoint::Neighbour && case.stop.leg == Echo::Reply).then_some(())?;
    let side = case.spot.side()?;
    let probe = *case.gap.probes.first()?;
    let came_from = source_at(case, side, probe)?;
    let sender = case.evidence.local.host.address.filter(|sender| *sender != came_from)?;
    let change = case.rewrites.iter().find(|change| (change.leg, change.field) == (Echo::Request, "source"));
    let place = change.map(|change| format!(", {}", change.place(case.evidence))).unwrap_or_default();
    let version = case.ip_version();
    Some(StopExplanation {
        detail: Some(format!(
            "they are for {came_from}, with which the requests came instead of {sender}{place}, and nobody answers for \
             it"
        )),
        meaning: format!(
            "The source {sender} is rewritten to {came_from} on the way, and no host on the link where answers go has that \
             address."
        ),
        commands: vec![
            format!("ip {version} neigh show {came_from}"),
            format!("ip {version} route get {came_from}"),
            "nft list ruleset | grep -n 'snat\\|masquerade'".to_owned(),
        ],
        ..StopExplanation::default()
    })
}

/// Returns the source address with which a request came in to `side`.
fn source_at(case: &StopCase<'_>, side: Side, probe: u16) -> Option<IpAddr> {
    match case.evidence.place(side) {
        Some(place) => {
            let seen =
                place.ports.iter().filter_map(|port| port.seen(Hop::NetifIn, Echo::Request)?.get(&probe).copied());
            seen.filter_map(|passage| passage.source).next()
        }
        None => alterations::step(case.evidence, Echo::Request, side, Hop::NetifIn, probe)?.source,
    }
}
