//! What a bridge does not pass on: from an isolated port to another one, and through a port that is not forwarding.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{
        bridge_port::{self, ISOLATED},
        flooded,
        path::Side,
        places::DropPoint,
    },
    model::{
        netfilter::TableFamily,
        trace::{AddressHolder, BridgePortFacts, Drop, Finding, LinkFacts},
    },
};

/// Explains a stop in a bridge by the port at which packets came in.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side().filter(|_| case.stop.place == DropPoint::Bridge)?;
    if case.stop.cause.netfilter.is_some() || chain_drops(case, side) {
        return None;
    }
    let past = flooded::past_the_receiver(case.evidence, side, case.stop.leg);
    if let Some((clause, meaning, commands)) = past {
        return Some(StopExplanation { detail: Some(clause), meaning, commands, ..StopExplanation::default() });
    }
    let events = case.gap.events(case.evidence);
    let at = events.iter().find_map(|event| event.drop.interface.as_deref()).unwrap_or_default();
    if let Some(found) = back_out(case, side, at).or_else(|| locked(case, side, at)) {
        return Some(found);
    }
    if let Some(found) = to_itself(case, events.iter().map(|event| event.drop)) {
        return Some(found);
    }
    let receiver = if case.gap.leg == case.evidence.first_leg() {
        Some(case.evidence.target.address)
    } else {
        case.evidence.local.host.address
    };
    let far = receiver.and_then(|receiver| flooded::holder(case.evidence, receiver));
    let far = far.and_then(|(holder, _)| bridge_port::leads_to(case.evidence, side, holder));
    // A port that they neither come in by nor are for has nothing to do with them.
    let concerned = |name: &str| name == at || far.is_none_or(|far| far.interface == name);
    let ports = case.evidence.findings(side).filter_map(|finding| match finding {
        Finding::Device(facts) => {
            let held = |port: &&BridgePortFacts| {
                concerned(&facts.interface) && (port.state.is_some() || !port.isolated_from.is_empty())
            };
            Some((facts, facts.port.as_ref().filter(held)?))
        }
        _ => None,
    });
    let (facts, port) = ports.max_by_key(|(facts, _)| facts.interface == at)?;
    let name = &facts.interface;
    let bridge = facts.master.as_deref().unwrap_or("its bridge");
    if let Some((clause, meaning, commands)) = bridge_port::blocked(facts, bridge) {
        return Some(StopExplanation { detail: Some(clause), meaning, commands, ..StopExplanation::default() });
    }
    let others = port.isolated_from.join(", ");
    Some(StopExplanation {
        detail: Some(format!("{name} is an isolated port of {bridge}, and so is {others}")),
        meaning: ISOLATED.to_owned(),
        commands: vec![format!("bridge -d link show dev {name}"), format!("bridge link set dev {name} isolated off")],
        ..StopExplanation::default()
    })
}

/// Recognizes frames that are for the very device that sent them, as a device without ARP makes them (`arp_constructor` in
/// `net/ipv4/arp.c`): the bridge knows that address behind the port by which they come.
fn to_itself<'a>(case: &StopCase<'_>, drops: impl Iterator<Item = &'a Drop>) -> Option<StopExplanation> {
    let made_at = case.origin()?;
    let mac = drops.filter_map(|drop| drop.frame.destination.as_deref()).next()?;
    let device = case.evidence.devices(made_at).find(|device| device.lladdr.as_deref() == Some(mac))?;
    let (who, name) = (case.evidence.name(made_at), &device.interface);
    let (why, mend) = if device.noarp {
        (format!(", as ARP is off at {name}"), format!("ip link set dev {name} arp on"))
    } else {
        (String::new(), format!("ip neigh show dev {name}"))
    };
    Some(StopExplanation {
        detail: Some(format!("their frames are for {mac}, {who}'s own {name}{why}")),
        meaning: "A bridge does not send a frame back out of the port behind which its receiver is. A device without ARP asks for \
                  nobody's link-layer address, and puts its own in the place of it."
            .to_owned(),
        commands: vec![mend, format!("ip -d link show dev {name}")],
        on: Some(made_at),
        ..StopExplanation::default()
    })
}

/// Recognizes packets that the bridge would have to send back out of the port by which they came in.
fn back_out(case: &StopCase<'_>, side: Side, at: &str) -> Option<StopExplanation> {
    let port = port_at(case, side, at).filter(|port| !port.port.as_ref().is_some_and(|held| held.hairpin))?;
    let bridge = port.master.as_deref()?;
    let events = case.gap.events(case.evidence);
    let to = events.iter().map(|event| event.drop.destination).find(|to| !to.is_unspecified())?;
    let behind = |holder: &AddressHolder| {
        holder.has_here(to) && holder.lower == Some(port.ifindex) && port.lower == Some(holder.ifindex)
    };
    let owner = case.evidence.sides().find(|owner| {
        case.evidence.findings(*owner).any(|finding| matches!(finding, Finding::Holder(holder) if behind(holder)))
    })?;
    let changed = case.rewrites.iter().any(|change| change.field == "destination" && change.leg == case.gap.leg);
    let now = if changed { " now" } else { "" };
    Some(StopExplanation {
        detail: Some(format!(
            "they are for {to}{now}, which is {} behind {at}, the port they came in by, and hairpin is off at that \
             port of {bridge}",
            case.evidence.whom(owner)
        )),
        meaning: "A bridge does not send a frame back out of the port it came in by, unless hairpin is on there: a \
                  container or pod that reaches itself through its service's address needs that."
            .to_owned(),
        commands: vec![format!("bridge link set dev {at} hairpin on"), format!("bridge -d link show dev {at}")],
        ..StopExplanation::default()
    })
}

fn locked(case: &StopCase<'_>, side: Side, at: &str) -> Option<StopExplanation> {
    let port = port_at(case, side, at)?;
    let bridge = port.master.as_deref()?.strip_prefix("bridge ")?;
    let (clause, meaning, commands) = bridge_port::locked(port, bridge)?;
    Some(StopExplanation { detail: Some(clause), meaning, commands, ..StopExplanation::default() })
}

fn port_at<'a>(case: &StopCase<'a>, side: Side, at: &str) -> Option<&'a LinkFacts> {
    case.evidence.devices(side).find(|device| device.interface == at && device.master.is_some())
}

/// Reports whether a chain of the bridge family can have ended them as well.
fn chain_drops(case: &StopCase<'_>, side: Side) -> bool {
    let drops = |finding: &Finding| matches!(finding, Finding::Chain { family, can_drop: true, .. } if *family == TableFamily::Bridge);
    case.evidence.findings(side).any(drops)
}
