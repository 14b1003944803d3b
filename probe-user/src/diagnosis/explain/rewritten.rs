//! Answers to an address by which somebody on the way replaced the sender's.

use std::net::IpAddr;

use probe_ebpf::{Echo, Hop};

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{alterations, path::Side, places::DropPoint},
    model::trace::PortTrace,
};

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

/// Explains packets that arrived and were given an address of loopback as their destination, for which the kernel takes nothing from
/// outside (`ip_route_input_slow` in `net/ipv4/route.c`).
pub(super) fn to_loopback(case: &StopCase<'_>) -> Option<StopExplanation> {
    let refused = case.stop.place == DropPoint::RouteIn && !case.evidence.is_v6();
    let side = case.spot.side().filter(|_| refused)?;
    let events = case.gap.events(case.evidence);
    let to = events.iter().map(|event| event.drop.destination).find(IpAddr::is_loopback)?;
    let change = case.rewrites.iter().find(|change| (change.leg, change.field) == (case.stop.leg, "destination"))?;
    let device = match case.evidence.place(side) {
        Some(place) => {
            let came = |port: &&PortTrace| port.seen(Hop::NetifIn, case.stop.leg).is_some_and(|seen| !seen.is_empty());
            &*place.ports.iter().find(came)?.interface
        }
        None => case.evidence.crossed(side, case.stop.leg, true),
    };
    Some(StopExplanation {
        detail: Some(format!("their destination became {to}, {}", change.place(case.evidence))),
        meaning: format!(
            "The kernel takes nothing for {to} that came in by {device}, unless its route_localnet is 1: then every service that \
             listens on loopback alone can be reached from there. An address of the host that is not of loopback needs no setting."
        ),
        commands: vec![
            format!("sysctl -w net.ipv4.conf.{}.route_localnet=1", device.replace('.', "/")),
            format!(
                "sysctl net.ipv4.conf.all.route_localnet net.ipv4.conf.{}.route_localnet",
                device.replace('.', "/")
            ),
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
