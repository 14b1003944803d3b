//! The route from this host to the other end, as the kernel would choose it now.

use std::{io, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType},
};
use nix::{errno::Errno, net::if_::if_indextoname};

use super::told;
use crate::{device::netlink, sighting::Finding};

/// The route to `to` for packets that carry the source address `from`: rules may choose by it.
pub fn look_up(from: IpAddr, to: IpAddr) -> Option<Finding> {
    // Of a source that is none of this host's addresses the kernel only says that; the route may be there all the same.
    match ask(to, Some(from).filter(|from| is_own(*from))) {
        Ok(routes) => routes.iter().find_map(|message| finding(to, message)),
        Err(error) => match error.raw_os_error() {
            Some(errno) => Some(unusable(to, Errno::from_raw(errno), None)),
            None => told("route", Err(error)),
        },
    }
}

/// Whether this network namespace has that address.
fn is_own(address: IpAddr) -> bool {
    let is_local = |message: &RouteNetlinkMessage| matches!(message, RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Local);
    ask(address, None).is_ok_and(|routes| routes.iter().any(is_local))
}

fn ask(to: IpAddr, from: Option<IpAddr>) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut request = RouteMessage::default();
    let bits = if to.is_ipv4() { 32 } else { 128 };
    request.header = RouteHeader {
        address_family: if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: bits,
        source_prefix_length: if from.is_some() { bits } else { 0 },
        ..RouteHeader::default()
    };
    request.attributes.push(RouteAttribute::Destination(address(to)));
    request.attributes.extend(from.map(|from| RouteAttribute::Source(address(from))));
    netlink::get(RouteNetlinkMessage::GetRoute(request))
}

fn address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

/// IPv4 answers with an error where a route ends packets; IPv6 shows that route.
fn finding(to: IpAddr, message: &RouteNetlinkMessage) -> Option<Finding> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let interface = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => name(*index),
        _ => None,
    });
    Some(match refusal(route.header.kind) {
        Some(errno) => unusable(to, errno, interface),
        None => Finding::Route { to, errno: None, interface },
    })
}

/// What the kernel answers a sender whose route is of this type (`fib_props` in `net/ipv4/fib_semantics.c`).
fn refusal(kind: RouteType) -> Option<Errno> {
    match kind {
        RouteType::BlackHole => Some(Errno::EINVAL),
        RouteType::Unreachable => Some(Errno::EHOSTUNREACH),
        RouteType::Prohibit => Some(Errno::EACCES),
        RouteType::Throw => Some(Errno::ENETUNREACH),
        _ => None,
    }
}

fn unusable(to: IpAddr, errno: Errno, interface: Option<String>) -> Finding {
    Finding::Route { to, errno: Some(format!("{errno:?}")), interface }
}

/// The name of an interface of this thread's network namespace.
fn name(index: u32) -> Option<String> {
    told("interface of the route", if_indextoname(index))?.into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(kind: RouteType) -> RouteNetlinkMessage {
        let mut route = RouteMessage::default();
        route.header.kind = kind;
        route.attributes.push(RouteAttribute::Oif(1));
        RouteNetlinkMessage::NewRoute(route)
    }

    #[test]
    fn a_route_that_ends_packets_is_told_by_what_a_sender_gets() {
        let to = IpAddr::from([10, 0, 0, 1]);
        let rows = [
            (RouteType::Unicast, None),
            (RouteType::Local, None),
            (RouteType::BlackHole, Some("EINVAL")),
            (RouteType::Unreachable, Some("EHOSTUNREACH")),
            (RouteType::Prohibit, Some("EACCES")),
        ];
        for (kind, expected) in rows {
            let Some(Finding::Route { errno, interface, .. }) = finding(to, &route(kind)) else { panic!("{kind:?}") };
            assert_eq!(errno.as_deref(), expected, "{kind:?}");
            assert_eq!(interface.as_deref(), Some("lo"));
        }
    }

    #[test]
    fn every_host_has_a_route_to_itself() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let expected = Finding::Route { to: here, errno: None, interface: Some("lo".to_owned()) };
        assert_eq!(look_up(here, here), Some(expected));
    }
}
