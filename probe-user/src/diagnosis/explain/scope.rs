//! Packets that a router may not forward, as their source address is valid on the sender's link only.

use std::net::{IpAddr, Ipv6Addr};

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::path::Side,
    model::trace::{AddressHolder, Finding, plain_function},
};

/// Explains a stop at a router that was to forward packets with a link-local source.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let events = case.gap.events(case.evidence);
    let freed = events.iter().find_map(|event| {
        let drop = event.drop;
        (plain_function(&drop.function) == "ip6_forward").then_some(drop.source).and_then(link_local)
    });
    let said = case.gap.icmp(case.evidence).filter(|error| (error.icmp_type, error.code) == (1, 2));
    let sent = || said.and(case.evidence.local.host.address).and_then(link_local);
    let source = freed.or_else(sent)?;
    let side = if case.gap.leg == case.evidence.first_leg() { Side::Local } else { Side::Peer };
    let (who, to) = (case.evidence.name(side), case.evidence.target.address);
    let mut detail = format!("their source {source} is valid on {who}'s own link only");
    let (unusable, interface) = (unusable(case, side), case.evidence.interface(side));
    let meaning = if let Some(holder) = unusable {
        let (address, state) = (holder.address?, holder.states.first()?);
        detail.push_str(&format!("; {address} on {} is {state}, and so not used", holder.interface));
        "A router forwards nothing with a link-local source. The kernel chose that one because the better address may \
         not be used: dadfailed means that another host answered for it."
    } else {
        "A router forwards nothing with a link-local source: the host has no other address that it may use on this way."
    };
    Some(StopExplanation {
        detail: Some(detail),
        meaning: meaning.to_owned(),
        commands: vec![format!("ip -6 addr show dev {interface}"), format!("ip -6 route get {to}")],
        on: Some(side),
        tracking: None,
    })
}

fn link_local(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(v6),
        _ => None,
    }
}

/// Returns the address of the side that the kernel does not use because of its state.
fn unusable<'a>(case: &StopCase<'a>, side: Side) -> Option<&'a AddressHolder> {
    case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Holder(holder) if holder.netns.is_none() && !holder.states.is_empty() => Some(holder),
        _ => None,
    })
}
