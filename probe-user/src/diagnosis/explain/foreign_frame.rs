//! Frames that came to a host with another link-layer address than that of the device at which they came in.

use probe_ebpf::Hop;

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{path::Side, places::DropPoint},
    model::trace::Finding,
};

/// Says which address the frames have, and which the device: whoever sent them to this link has a wrong entry, and nobody who was
/// watched is known to.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side().filter(|_| case.stop.place == DropPoint::IpHeader)?;
    let events = case.gap.events(case.evidence);
    let drop = events.iter().map(|event| event.drop).find(|drop| drop.reason == "OTHERHOST")?;
    let (to, device) = (drop.frame.destination.as_deref()?, drop.interface.as_deref()?);
    let own = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Device(facts) if facts.interface == device => facts.lladdr.as_deref(),
        _ => None,
    });
    // A tag without its device ends frames in the same way, and so does what a bridge sends to all of its ports.
    let own = own.filter(|own| *own != to)?;
    let address = drop.destination;
    let first = case.evidence.devices(side).find(|facts| facts.lladdr.as_deref() == Some(to));
    if let Some(first) = first.filter(|first| came_by(case, side, &first.interface)) {
        return Some(redirected(&first.interface, device, case.evidence.whom(side).as_str()));
    }
    let ip = if address.is_ipv4() { "ip" } else { "ip -6" };
    Some(StopExplanation {
        detail: Some(format!("they came to {device} in frames for {to}, and {device} has {own}")),
        meaning: format!(
            "Whoever sent them to this link, the sender or the last router before it, has {to} in its entry for {address}: an old \
             one, or that of another host. There: `{ip} neigh show {address}`."
        ),
        commands: vec![format!("ip -br link show dev {device}"), format!("tcpdump -eni {device} -c 4 'icmp or icmp6'")],
        ..StopExplanation::default()
    })
}

/// Reports whether the packets came in to a place by that device before.
fn came_by(case: &StopCase<'_>, side: Side, device: &str) -> bool {
    let ports = case.evidence.place(side).map_or(&[][..], |place| &place.ports);
    let at = ports.iter().filter(|port| port.interface == device);
    let seen = at.filter_map(|port| port.seen(Hop::NetifIn, case.gap.leg)).next();
    seen.is_some_and(|seen| case.gap.probes.iter().all(|probe| seen.contains_key(probe)))
}

/// Tells that frames for a place's own device were sent on to another of its devices: whatever routes a packet writes a new header.
fn redirected(first: &str, device: &str, who: &str) -> StopExplanation {
    StopExplanation {
        detail: Some(format!(
            "they came in to {who} by {first}, and to {device} in frames that still are for {first}: redirected there, past routing"
        )),
        meaning: format!(
            "A tc filter or program, or an nftables chain of the device (fwd), at {first}'s ingress sends them on to another \
             device, from which they reached nobody."
        ),
        commands: vec![
            "nft list ruleset netdev".to_owned(),
            format!("tc -s filter show dev {first} ingress"),
            format!("bpftool net show dev {first}"),
        ],
        ..StopExplanation::default()
    }
}
