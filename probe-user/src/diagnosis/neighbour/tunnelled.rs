//! Questions for a neighbour that leave by a tunnel: to which host it sends them, and what that host accepts.

use std::net::IpAddr;

use super::{LostQuestion, search::Search};
use crate::{
    diagnosis::path::Side,
    model::trace::{NeighbourHop, NeighbourKind, NeighbourPacket, TunnelFacts, tunnel::ANY_ADDRESS},
};

/// Returns what the asker's tunnel does with questions, if they leave by one. `owner`: who has the address, if that is known and
/// watched; `name` is how it is called.
pub(super) fn told(search: &Search<'_>, owner: Option<Side>, name: &str) -> Option<LostQuestion> {
    let tunnels = &search.evidence.seen_around(search.asker)?.tunnels;
    let own = tunnels.iter().find(|tunnel| tunnel.is_behind(&search.interface))?;
    let far = owner.and_then(|side| own.counterpart(&search.evidence.seen_around(side)?.tunnels));
    let to = receivers(own);
    let word = own.number_word();
    let show = format!("bridge fdb show dev {}", own.interface);
    if let Some(far) = far {
        let differs = |what: &str, here: String, there: String, mend: String| LostQuestion {
            clause: format!(
                "{} sends them with {what} {here}, and {} of {name} accepts {there}",
                own.interface, far.interface
            ),
            meaning: "Both ends of a tunnel need the same one: packets with another are not for that device."
                .to_owned(),
            commands: vec![format!("ip -d link show dev {}", own.interface), mend],
        };
        if let (Some(here), Some(there)) = (own.vni, far.vni)
            && here != there
        {
            let mend = format!(
                "ip -d link show type {}  # recreated with id {there}, or that of {name} with {here}",
                own.kind
            );
            return Some(differs(word, here.to_string(), there.to_string(), mend));
        }
        if let (Some(here), Some(there)) = (own.port, far.port)
            && here != there
        {
            let mend = format!(
                "ip -d link show type {}  # recreated with dstport {there}, or that of {name} with {here}",
                own.kind
            );
            return Some(differs("UDP port", here.to_string(), there.to_string(), mend));
        }
    }
    let at = far.and_then(|far| far.local);
    if to.is_empty() {
        (own.fdb.is_some() && !own.external).then_some(())?;
        let to = at.map_or_else(|| "ADDRESS".to_owned(), |address| address.to_string());
        return Some(LostQuestion {
            clause: format!("{} has no forwarding entry for broadcasts, and no default host", own.interface),
            meaning: format!(
                "Questions go to the hosts of the entry {ANY_ADDRESS}, or to the remote address or group of the device; without \
                 one they go nowhere."
            ),
            commands: vec![format!("bridge fdb append {ANY_ADDRESS} dev {} dst {to}", own.interface), show],
        });
    }
    let hosts = to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(at) = at.filter(|at| !to.contains(at) && !to.iter().any(IpAddr::is_multicast)) {
        return Some(LostQuestion {
            clause: format!("{} sends broadcasts to {hosts}, and {name} accepts them at {at}", own.interface),
            meaning: "The forwarding table says to which hosts questions are sent; the one that has the address is not among them."
                .to_owned(),
            commands: vec![format!("bridge fdb append {ANY_ADDRESS} dev {} dst {at}", own.interface), show],
        });
    }
    let number = own.vni.map(|number| format!(", {word} {number}")).unwrap_or_default();
    let port = own.port.map(|port| format!(", UDP port {port}")).unwrap_or_default();
    let first = to.iter().find(|to| !to.is_multicast());
    let mut commands: Vec<String> = first.map(|to| format!("probe diagnose {to}")).into_iter().collect();
    commands.extend(own.port.map(|port| format!("tcpdump -ni any -c 4 udp port {port}")));
    let way = format!("{} sends such packets to {hosts}{number}{port}", own.interface);
    Some(LostQuestion {
        clause: freed(search, own).map_or_else(|| way.clone(), |freed| format!("{way}, and {freed}")),
        meaning: "What becomes of the packets of the tunnel decides: a route or a firewall between its two ends, or the far end itself."
            .to_owned(),
        commands,
    })
}

/// Returns where the kernel freed the questions on their way through the tunnel, with its reason, in a clause.
fn freed(search: &Search<'_>, own: &TunnelFacts) -> Option<String> {
    search.evidence.sides().find_map(|side| {
        let mut dropped = search.packets(side, NeighbourKind::Asks, NeighbourHop::Dropped);
        let inside = |packet: &&NeighbourPacket| {
            let at_device = side == search.asker && packet.interface.as_deref() == Some(&own.interface);
            packet.layers > 0 || at_device
        };
        let packet = dropped.find(inside)?;
        Some(format!("{} freed them: {} in {}", search.evidence.whom(side), packet.reason, packet.function))
    })
}

/// Returns the hosts to which a tunnel sends broadcasts.
fn receivers(tunnel: &TunnelFacts) -> Vec<IpAddr> {
    let entries = tunnel.fdb.iter().flatten().filter(|entry| entry.lladdr == ANY_ADDRESS).map(|entry| entry.to);
    let mut to: Vec<IpAddr> = entries.chain(tunnel.remote).filter(|to| !to.is_unspecified()).collect();
    to.sort_unstable();
    to.dedup();
    to
}
