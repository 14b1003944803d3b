//! The neighbour that packets to the other end go to next, as ARP or neighbour discovery knows it.

use std::{io, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
};
use nix::net::if_::if_nametoindex;

use super::{link_facts, or_log, route};
use crate::{
    host::device::netlink,
    model::{request::SocketKey, trace::Finding},
};

/// Returns what the host knows of the next hop to `to` for packets from `from` with that `key`; `None`
/// if there is no usable route, or the kernel never had to resolve the next hop.
pub fn look_up(from: IpAddr, to: IpAddr, key: SocketKey) -> Option<Finding> {
    found_at(&route::next_hop(from, to, key)?)
}

fn found_at(hop: &route::NextHop) -> Option<Finding> {
    let entries = or_log("neighbours", table(hop.address))?;
    let entry = entries.iter().find_map(|entry| entry_for(entry, hop))?;
    let interface = route::name(hop.ifindex)?;
    let lladdr = entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => link_facts::lladdr(bytes),
        _ => None,
    });
    Some(Finding::Neighbour { address: hop.address, interface, state: word(entry.header.state), lladdr })
}

/// Returns the state of the entry for that address at that interface, if there is one.
pub(super) fn state(address: IpAddr, ifindex: u32) -> Option<String> {
    let entries = or_log("neighbours", table(address))?;
    let hop = route::NextHop { address, ifindex };
    entries.iter().find_map(|entry| entry_for(entry, &hop)).map(|entry| word(entry.header.state))
}

/// Returns what the host knows of the neighbour with that address at that interface; `None`: nothing.
pub fn entry(address: IpAddr, interface: &str) -> Option<Finding> {
    let ifindex = or_log("interface", if_nametoindex(interface))?;
    found_at(&route::NextHop { address, ifindex })
}

/// Makes the kernel look for the next hop to `to` as a packet would (`NTF_USE`), if it knows that neighbour and has not
/// found it; returns its address, or `None` if there is nothing to look for.
pub fn look_for(from: IpAddr, to: IpAddr, key: SocketKey) -> Option<IpAddr> {
    look_for_hop(&route::next_hop(from, to, key)?)
}

/// Makes the kernel look in the same way for a neighbour at that interface.
pub fn look_for_at(address: IpAddr, interface: &str) -> Option<IpAddr> {
    let ifindex = or_log("interface", if_nametoindex(interface))?;
    look_for_hop(&route::NextHop { address, ifindex })
}

fn look_for_hop(hop: &route::NextHop) -> Option<IpAddr> {
    let state = state(hop.address, hop.ifindex)?;
    if !matches!(state.as_str(), "INCOMPLETE" | "FAILED") {
        return None;
    }
    let mut request = NeighbourMessage::default();
    request.header.family = if hop.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    request.header.ifindex = hop.ifindex;
    request.header.flags = NeighbourFlags::Use;
    request.attributes.push(NeighbourAttribute::Destination(match hop.address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    }));
    or_log("looking for a neighbour", netlink::change(RouteNetlinkMessage::NewNeighbour(request)))?;
    Some(hop.address)
}

/// Returns the neighbours of that IP version, at every interface.
fn table(of: IpAddr) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut request = NeighbourMessage::default();
    request.header.family = if of.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    netlink::dump(&RouteNetlinkMessage::GetNeighbour(request))
}

/// Returns the entry if it is the one for `hop`.
fn entry_for<'a>(entry: &'a RouteNetlinkMessage, hop: &route::NextHop) -> Option<&'a NeighbourMessage> {
    let RouteNetlinkMessage::NewNeighbour(entry) = entry else { return None };
    let is_it = |attribute: &NeighbourAttribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => IpAddr::from(*v4) == hop.address,
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => IpAddr::from(*v6) == hop.address,
        _ => false,
    };
    (entry.header.ifindex == hop.ifindex && entry.attributes.iter().any(is_it)).then_some(entry)
}

/// Formats the state the way `ip neighbour` does.
fn word(state: NeighbourState) -> String {
    match state {
        NeighbourState::Incomplete => "INCOMPLETE",
        NeighbourState::Reachable => "REACHABLE",
        NeighbourState::Stale => "STALE",
        NeighbourState::Delay => "DELAY",
        NeighbourState::Probe => "PROBE",
        NeighbourState::Failed => "FAILED",
        NeighbourState::Noarp => "NOARP",
        NeighbourState::Permanent => "PERMANENT",
        NeighbourState::None => "NONE",
        other => return format!("{:#04x}", u16::from(other)),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(ifindex: u32, address: [u8; 4], state: NeighbourState) -> RouteNetlinkMessage {
        let mut entry = NeighbourMessage::default();
        entry.header.ifindex = ifindex;
        entry.header.state = state;
        entry.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address.into())));
        RouteNetlinkMessage::NewNeighbour(entry)
    }

    #[test]
    fn only_the_entry_of_the_next_hop_at_its_interface_counts() {
        let hop = route::NextHop { address: [10, 0, 0, 1].into(), ifindex: 2 };
        let state = |entry| entry_for(&entry, &hop).map(|entry| entry.header.state);
        assert_eq!(state(entry(2, [10, 0, 0, 1], NeighbourState::Failed)), Some(NeighbourState::Failed));
        assert_eq!(state(entry(3, [10, 0, 0, 1], NeighbourState::Failed)), None);
        assert_eq!(state(entry(2, [10, 0, 0, 2], NeighbourState::Failed)), None);
    }

    #[test]
    fn states_have_the_words_of_ip_neighbour() {
        assert_eq!(word(NeighbourState::Incomplete), "INCOMPLETE");
        assert_eq!(word(NeighbourState::Other(0x300)), "0x300");
    }

    #[test]
    fn what_needs_no_neighbour_has_none() {
        let here = IpAddr::from([127, 0, 0, 1]);
        assert!(
            !matches!(look_up(here, here, SocketKey::default()), Some(Finding::Neighbour { state, .. }) if state != "NOARP")
        );
    }
}
