//! Questions for a neighbour that leave by a tunnel: to which host it sends them, and what that host accepts.

use std::net::IpAddr;

use super::{LostQuestion, search::Search};
use crate::{
    diagnosis::path::Side,
    model::trace::{
        NeighbourHop, NeighbourKind, NeighbourPacket, TunnelFacts, tun_program::names, tunnel::ANY_ADDRESS,
    },
};

/// Returns what the asker's tunnel does with questions, if they leave by one. `owner`: who has the address, if that is known and
/// watched; `name` is how it is called.
pub(super) fn told(search: &Search<'_>, owner: Option<Side>, name: &str) -> Option<LostQuestion> {
    let tunnels = &search.evidence.seen_around(search.asker)?.tunnels;
    let behind = || tunnels.iter().filter(|tunnel| tunnel.is_behind(&search.interface));
    if let Some(tap) = behind().find(|tunnel| tunnel.is_sealed()) {
        return behind().all(TunnelFacts::is_sealed).then(|| handed(tap));
    }
    let own = behind().next()?;
    let to = receivers(own);
    let far = owner.and_then(|side| {
        let there = &search.evidence.seen_around(side)?.tunnels;
        own.counterpart(there, own.local, to.first().copied())
    });
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
        (own.kind == "vxlan" && own.has_whole_table() && !own.external).then_some(())?;
        let to = at.or(own.remote).map_or_else(|| "ADDRESS".to_owned(), |address| address.to_string());
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
    if let Some(far) = far.filter(|far| to.iter().all(|to| to.is_multicast() && far.remote != Some(*to))) {
        let at = far.local.map_or_else(|| "ADDRESS".to_owned(), |local| local.to_string());
        return Some(LostQuestion {
            clause: format!(
                "{} sends broadcasts to the group {hosts}, and {} of {name} is no member of it",
                own.interface, far.interface
            ),
            meaning: "A device joins the group that it sends broadcasts to; both ends need the same one, or each other's address."
                .to_owned(),
            commands: vec![format!("bridge fdb append {ANY_ADDRESS} dev {} dst {at}", own.interface), show],
        });
    }
    let grouped = to.iter().all(IpAddr::is_multicast);
    let number = own.vni.map(|number| format!(", {word} {number}")).unwrap_or_default();
    let port = own.port.map(|port| format!(", UDP port {port}")).unwrap_or_default();
    let first = to.iter().find(|to| !to.is_multicast());
    let mut commands: Vec<String> = first.map(|to| format!("probe diagnose {to}")).into_iter().collect();
    commands.extend(own.port.map(|port| format!("tcpdump -ni any -c 4 udp port {port}")));
    let way = format!("{} sends such packets to {hosts}{number}{port}", own.interface);
    Some(LostQuestion {
        clause: freed(search, own).map_or_else(|| way.clone(), |freed| format!("{way}, and {freed}")),
        meaning: if grouped {
            format!(
                "Routers pass on what is sent to a group only if they are set up for that (PIM): else {hosts} is heard on the same link \
                 only. The addresses of the other hosts in place of a group need no such router."
            )
        } else {
            "What becomes of the packets of the tunnel decides: a route or a firewall between its two ends, or the far end itself."
                .to_owned()
        },
        commands,
    })
}

/// Tells of questions that leave by a tun or tap device: they are for the program that holds it.
fn handed(tap: &TunnelFacts) -> LostQuestion {
    let device = &tap.interface;
    let counts = tap.counts.unwrap_or_default();
    let (clause, first) = if tap.programs.is_empty() {
        (
            format!(
                "no program was found that has the tap device {device} open, and what leaves by it is for that program"
            ),
            "grep -l '^iff:' /proc/[0-9]*/fdinfo/*".to_owned(),
        )
    } else {
        let read = match (counts.read, counts.refused) {
            (0, 0) => ", which read nothing from it".to_owned(),
            (0, refused) => format!(", which read nothing from it: {refused} found its queue full"),
            (read, _) => format!(", which read {read} from it"),
        };
        (
            format!("{device} hands them to {}{read}", names(&tap.programs)),
            format!("cat /proc/{}/wchan", tap.programs[0].pid),
        )
    };
    LostQuestion {
        clause,
        meaning: format!(
            "Behind {device} is what its program makes of it, such as the network card of a virtual machine: that answers, or nobody does."
        ),
        commands: vec![first, format!("ip -s link show dev {device}")],
    }
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
    // The device's own remote address has an entry of its own, which can be deleted.
    let remote = tunnel.remote.filter(|_| tunnel.kind != "vxlan" || !tunnel.has_whole_table());
    let mut to: Vec<IpAddr> = entries.chain(remote).filter(|to| !to.is_unspecified()).collect();
    to.sort_unstable();
    to.dedup();
    to
}
