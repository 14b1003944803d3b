//! Packets that are too long for the device to which a bridge or a veth pair was to pass them.
//!
//! `is_skb_forwardable` (`net/core/dev.c`) refuses what is longer than that device's MTU, without an ICMP error: on a link there
//! is no router that could send one.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::control::ControlKind,
    model::trace::{LinkFacts, plain_function},
};

/// Functions of a bridge that free what a port does not take.
const BRIDGE: [&str; 4] = ["br_dev_queue_push_xmit", "br_nf_dev_queue_xmit", "__br_forward", "br_forward_finish"];

/// Functions that give a packet to the other end of a pair of devices.
const PAIR: [&str; 3] = ["__dev_forward_skb2", "__dev_forward_skb", "dev_forward_skb"];

/// Explains a stop if the kernel's own function for that freed them.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    let events = case.gap.events(case.evidence);
    let drop = events.iter().map(|event| event.drop).find(|drop| !matches!(drop.reason.as_str(), "NETFILTER_DROP"))?;
    let function = plain_function(&drop.function);
    let devices = || case.evidence.devices(side);
    let at = devices().find(|facts| Some(&facts.interface) == drop.interface.as_ref());
    let (narrow, named, look) = if BRIDGE.contains(&function) {
        // The event names the port, or the device by which they came in.
        let ports = devices().filter(|facts| facts.master.is_some() && facts.mtu > 0);
        let bridges = |facts: &&LinkFacts| at.is_none_or(|at| at.master == facts.master);
        let narrow = ports.filter(bridges).min_by_key(|facts| facts.mtu)?;
        let bridge = narrow.master.as_deref()?;
        (Some(narrow), format!("{}, a port of {bridge},", narrow.interface), narrow.interface.clone())
    } else if PAIR.contains(&function) {
        let interface = drop.interface.clone()?;
        let other = at.and_then(|at| other_end(case, at));
        (other, format!("the other end of {interface}"), interface)
    } else {
        return None;
    };
    let passes = case.evidence.controls.iter().find_map(|control| match control.kind {
        ControlKind::Size { .. } => control.packet_sizes(case.evidence.is_v6()).map(|(packet, _)| packet),
        ControlKind::Pace { .. } | ControlKind::Field { .. } => None,
    });
    let takes = match (narrow, passes) {
        (Some(facts), _) if facts.mtu > 0 => format!(" (MTU {})", facts.mtu),
        (_, Some(packet)) if case.evidence.layer.is_none() => format!(": up to {packet} bytes pass"),
        _ => String::new(),
    };
    let length = case.carried_length();
    let destination = drop.destination;
    let most = narrow.map(|facts| facts.mtu).filter(|mtu| *mtu > 0);
    let header = if destination.is_ipv6() { 40 + 8 } else { 20 + 8 };
    let size = most.unwrap_or(1500).saturating_sub(header);
    Some(StopExplanation {
        detail: Some(format!("longer than {named} takes{takes}{length}")),
        meaning: "Both ends of a link need the same MTU. A bridge or a veth pair drops what is longer without an ICMP \
                  error, so path MTU discovery does not learn of it."
            .to_owned(),
        commands: vec![format!("ip link show dev {look}"), format!("ping -M do -s {size} -c 2 {destination}")],
        ..StopExplanation::default()
    })
}

/// Returns the device that is the other end of that pair, where its namespace was looked at and no other device can be meant: the two
/// ends have each other's index, which devices of other namespaces may have as well.
fn other_end<'a>(case: &StopCase<'a>, end: &LinkFacts) -> Option<&'a LinkFacts> {
    let all = case.evidence.sides().flat_map(|side| case.evidence.devices(side));
    let narrow = all.filter(|facts| (1..end.mtu).contains(&facts.mtu));
    let mut pairs = narrow.filter(|facts| Some(facts.ifindex) == end.lower && facts.lower == Some(end.ifindex));
    let found = pairs.next()?;
    pairs.all(|other| other == found).then_some(found)
}
