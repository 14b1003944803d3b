//! Frames that came to a host with another link-layer address than that of the device at which they came in.

use super::{StopCase, StopExplanation};
use crate::{diagnosis::places::DropPoint, model::trace::Finding};

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
