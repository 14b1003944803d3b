//! A bridge that gives packets to all but the host that they are for, whose port it lacks or does not know.

use std::net::IpAddr;

use probe_ebpf::{Echo, Hop};

use super::{
    Evidence,
    bridge_port::{self, Blocked},
    path::Side,
};
use crate::model::trace::{AddressHolder, Finding, FloodKind, LinkFacts, PlaceTrace, place::in_words};

/// A bridge that packets came to, and how they left it.
struct Bridge<'a> {
    /// Its name.
    name: &'a str,
    /// The port by which they came.
    came: &'a LinkFacts,
    /// The ports by which they left.
    left: Vec<&'a str>,
}

/// Reports whether a bridge gave `place` copies of packets that are for somebody else: what came there did so out of a bridge's
/// port, and none of the addresses of the run is its own.
pub(super) fn is_bystander(evidence: &Evidence, leg: Echo, place: &PlaceTrace) -> bool {
    let looked_up = place.findings.iter().any(|finding| matches!(finding, Finding::Address { .. }));
    let own = |finding: &Finding| matches!(finding, Finding::Holder(holder) if holder.netns.is_none());
    let fed = || {
        evidence.places.iter().any(|other| other.netns != place.netns && crossed(&other.findings, other, leg).is_some())
    };
    looked_up && !place.findings.iter().any(own) && fed()
}

/// Returns why the bridge of `side` did not give packets of a leg to the host that they are for; `None`: it is not known, or no
/// bridge is crossed there.
pub(super) fn past_the_receiver(evidence: &Evidence, side: Side, leg: Echo) -> Option<Blocked> {
    let place = evidence.place(side)?;
    let bridge = crossed(&place.findings, place, leg)?;
    // What a chain or the bridge itself dropped there is another matter.
    if place.drops.iter().any(|drop| drop.leg == leg) {
        return None;
    }
    let receiver =
        if leg == evidence.first_leg() { Some(evidence.target.address) } else { evidence.local.host.address };
    let (holder, owner) = holder(evidence, receiver?)?;
    let far = bridge_port::leads_to(evidence, side, holder)?;
    let (name, port) = (bridge.name, far.interface.as_str());
    if bridge.left.contains(&port) {
        return None;
    }
    let what = format!("{port}, the other end of {owner}'s {},", holder.interface);
    let unknown = || {
        let (left, lladdr) = (bridge.left.join(" and "), holder.lladdr.as_deref().unwrap_or("its link-layer address"));
        (
            format!("{name} sent them out of {left}, and not out of {what} which they are for"),
            format!("The table of a bridge says behind which port a link-layer address is; look for {lladdr} in it."),
            vec![
                format!("bridge fdb show br {name}"),
                format!("bridge fdb del {lladdr} dev {} master", bridge.left[0]),
            ],
        )
    };
    bridge_port::off_the_bridge(far, name, &what)
        .or_else(|| bridge_port::blocked(far, name))
        .or_else(|| bridge_port::isolated(bridge.came, far, name))
        .or_else(|| not_flooded(far, name))
        .or_else(|| Some(unknown()))
}

fn crossed<'a>(findings: &'a [Finding], place: &'a PlaceTrace, leg: Echo) -> Option<Bridge<'a>> {
    let device = |name: &str| {
        findings.iter().find_map(|finding| match finding {
            Finding::Device(device) if device.interface == name => Some(device),
            _ => None,
        })
    };
    let at = |hop: Hop| {
        let seen =
            move |port: &&crate::model::trace::PortTrace| port.seen(hop, leg).is_some_and(|seen| !seen.is_empty());
        place.ports.iter().filter(seen)
    };
    let (came, name) = at(Hop::NetifIn).find_map(|port| {
        let port = device(&port.interface)?;
        Some((port, port.master.as_deref()?.strip_prefix("bridge ")?))
    })?;
    let same = |port: &&str| device(port).is_some_and(|port| port.master == came.master) && *port != came.interface;
    let left: Vec<&str> = at(Hop::Xmit).map(|port| port.interface.as_str()).filter(same).collect();
    (!left.is_empty()).then_some(Bridge { name, came, left })
}

/// Returns the device that has `address`, and whose it is, in words.
/// Returns who has an address, of those that were looked at, and in whose words.
pub(super) fn holder(evidence: &Evidence, address: IpAddr) -> Option<(&AddressHolder, String)> {
    evidence.sides().find_map(|side| {
        evidence.findings(side).find_map(|finding| match finding {
            Finding::Holder(holder) if holder.address == Some(address) => {
                let owner = holder.netns.as_deref().map_or_else(|| evidence.whom(side), in_words);
                Some((holder, owner))
            }
            _ => None,
        })
    })
}

/// Recognizes that the port does not get what is for a host whose port is not known.
fn not_flooded(far: &LinkFacts, bridge: &str) -> Option<Blocked> {
    let port = &far.interface;
    far.port.as_ref()?.not_flooded.contains(&FloodKind::Unicast).then(|| {
        (
            format!("{port}, a port of {bridge}, is set to flood off"),
            "The bridge sends nothing for a host that it has not heard out of such a port.".to_owned(),
            vec![format!("bridge link set dev {port} flood on"), format!("bridge -d link show dev {port}")],
        )
    })
}
