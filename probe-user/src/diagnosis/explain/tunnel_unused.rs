//! Tunnels of a place on the way that probes do not take: one that sends to its own host, and one that is set down.

use probe_ebpf::Hop;

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{Evidence, path::Side, places::DropPoint},
    model::trace::{Finding, IcmpError, PortTrace, TunnelFacts, tunnel::ANY_ADDRESS},
};

/// Explains packets that a place gets back again and again since its tunnel sends them to an address of its own.
pub(super) fn to_itself(case: &StopCase<'_>) -> Option<StopExplanation> {
    let evidence = case.evidence;
    let side = case.spot.side().filter(|_| evidence.layer.is_none())?;
    let expired = case.stop.cause.reason.as_deref() == Some("TTL")
        || case.gap.icmp(evidence).is_some_and(IcmpError::tells_expiry);
    let around = evidence.seen_around(side).filter(|_| expired)?;
    let next = |tunnel: &TunnelFacts| {
        evidence.findings(side).find_map(|finding| match finding {
            Finding::Neighbour { interface, lladdr, .. } if tunnel.is_behind(interface) => lladdr.clone(),
            _ => None,
        })
    };
    let own = |tunnel: &TunnelFacts| {
        let local = tunnel.local?;
        let next = next(tunnel);
        let entry = next.as_deref().and_then(|next| tunnel.entry_for(next)).or_else(|| tunnel.entry_for(ANY_ADDRESS));
        let to = entry.map(|entry| entry.to).or(tunnel.remote)?;
        (to == local).then(|| (local, entry.map(|entry| entry.lladdr.clone())))
    };
    let (tunnel, (local, entry)) = around.tunnels.iter().find_map(|tunnel| Some((tunnel, own(tunnel)?)))?;
    let (device, name) = (&tunnel.interface, evidence.name(side));
    let far = others(evidence, side).find_map(|other| tunnel.counterpart(&other.tunnels, None, None)?.local);
    let to = far.filter(|far| *far != local).map_or_else(|| "ADDRESS".to_owned(), |far| far.to_string());
    let (chosen, mend) = match entry.filter(|lladdr| lladdr != ANY_ADDRESS) {
        Some(lladdr) => (
            format!("the forwarding entry of {device} for {lladdr}"),
            format!("bridge fdb replace {lladdr} dev {device} dst {to}"),
        ),
        None => (device.clone(), format!("ip link set dev {device} type {} remote {to}", tunnel.kind)),
    };
    Some(StopExplanation {
        detail: Some(format!(
            "{chosen} sends them to {local}, which is {name} itself: they come out of {device} again"
        )),
        meaning: format!(
            "What {device} sends to its own host is forwarded into {device} once more, until the TTL runs out."
        ),
        commands: vec![mend, format!("bridge fdb show dev {device}")],
        on: Some(side),
        tracking: None,
    })
}

/// Explains packets that are lost outside of a tunnel that is set down, where the other end of it is watched.
pub(super) fn down(case: &StopCase<'_>) -> Option<StopExplanation> {
    let evidence = case.evidence;
    matches!(case.stop.place, DropPoint::Network | DropPoint::RouteIn | DropPoint::Neighbour).then_some(())?;
    let (side, tunnel, exit) = idle(evidence).find(|(side, tunnel, _)| {
        let is_end = |other: &TunnelFacts| other.kind == tunnel.kind && other.vni == tunnel.vni && other.up;
        others(evidence, *side).any(|place| place.tunnels.iter().any(is_end))
    })?;
    let (device, name) = (&tunnel.interface, evidence.name(side));
    Some(StopExplanation {
        detail: Some(told(evidence, side, tunnel, exit)),
        meaning: format!(
            "Routes through a device go when it is set down, and other routes of {name} lead outside of the tunnel. They do not come \
             back by themselves when it is set up: what made them has to set them again."
        ),
        commands: vec![
            format!("ip link set dev {device} up"),
            format!("ip {} route show dev {device}", case.ip_version()),
        ],
        on: Some(side),
        tracking: None,
    })
}

/// Tells of tunnels that are set down at places that probes left by another device.
pub(in crate::diagnosis) fn notes(evidence: &Evidence) -> Vec<String> {
    idle(evidence).map(|(side, tunnel, exit)| told(evidence, side, tunnel, exit)).collect()
}

fn told(evidence: &Evidence, side: Side, tunnel: &TunnelFacts, exit: &str) -> String {
    format!(
        "{} of {} is a tunnel and set down, so that no route leads into it; they left by {exit}",
        tunnel.interface,
        evidence.name(side)
    )
}

/// Returns each tunnel that is set down at a place that requests left by another device, with that device.
fn idle(evidence: &Evidence) -> impl Iterator<Item = (Side, &TunnelFacts, &str)> {
    evidence.sides().filter(|_| evidence.layer.is_none()).flat_map(move |side| {
        let exit = exit(evidence, side);
        let tunnels = evidence.seen_around(side).map(|place| place.tunnels.as_slice()).unwrap_or_default();
        let idle = tunnels.iter().filter(|tunnel| !tunnel.up && !tunnel.is_sealed());
        idle.filter_map(move |tunnel| exit.filter(|exit| !tunnel.is_behind(exit)).map(|exit| (side, tunnel, exit)))
    })
}

/// Returns the last device by which probes of the first leg left a place.
fn exit(evidence: &Evidence, side: Side) -> Option<&str> {
    let leg = evidence.first_leg();
    let Some(place) = evidence.place(side) else {
        return (side == Side::Local).then(|| evidence.crossed(side, leg, false));
    };
    let first = |port: &PortTrace| port.seen(Hop::Xmit, leg)?.values().map(|passage| passage.first_ns).min();
    let left = place.ports.iter().filter_map(|port| Some((first(port)?, port.interface.as_str())));
    left.max().map(|(_, name)| name)
}

/// Returns what has tunnels at other places.
fn others(evidence: &Evidence, but: Side) -> impl Iterator<Item = &crate::model::trace::PlaceTrace> {
    evidence.sides().filter(move |side| *side != but).filter_map(|side| evidence.seen_around(side))
}
