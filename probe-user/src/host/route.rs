//! The route from this host to the other end, as the kernel would choose it now.

use std::{io, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteType, RouteVia},
};
use nix::{
    errno::Errno,
    net::if_::{if_indextoname, if_nametoindex},
};

use super::or_log;
use crate::{
    host::device::netlink,
    model::{request::SocketKey, trace::Finding},
};

/// Looks up the route to `to` for packets with the source address `from` and that `key`: policy rules may choose by all of them.
pub fn look_up(from: IpAddr, to: IpAddr, key: SocketKey) -> Option<Finding> {
    // For a source that is not one of this host's addresses the kernel reports only that; the route may exist nevertheless.
    match ask(to, Some(from).filter(|from| is_own(*from)), key) {
        Ok(routes) => routes.iter().find_map(|message| finding(to, message)),
        Err(error) => match error.raw_os_error() {
            Some(errno) => Some(unusable(to, Errno::from_raw(errno), None)),
            None => or_log("route", Err(error)),
        },
    }
}

/// Returns the path MTU that the kernel remembers for `to`, or that its route sets; `None` if it is the interface's.
pub fn path_mtu(from: IpAddr, to: IpAddr, key: SocketKey) -> Option<Finding> {
    let routes = or_log("path MTU", ask(to, Some(from).filter(|from| is_own(*from)), key))?;
    routes.iter().find_map(|message| {
        let RouteNetlinkMessage::NewRoute(route) = message else { return None };
        // What was learned ends some day.
        let learned = route
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, RouteAttribute::CacheInfo(cache) if cache.expires != 0));
        route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
                RouteMetric::Mtu(mtu) if *mtu != 0 => Some(Finding::PathMtu { to, mtu: *mtu, of_route: !learned }),
                _ => None,
            }),
            _ => None,
        })
    })
}

/// Where packets go next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The gateway, or the other end itself if it is on the link.
    pub address: IpAddr,
    /// The interface towards it.
    pub ifindex: u32,
}

/// Returns the next hop of the route that [`look_up`] finds; `None` if it leads nowhere or stays on this host.
pub fn next_hop(from: IpAddr, to: IpAddr, key: SocketKey) -> Option<NextHop> {
    let routes = or_log("next hop", ask(to, Some(from).filter(|from| is_own(*from)), key))?;
    routes.iter().find_map(|message| hop(to, message))
}

/// Returns the next hop that the kernel chooses for packets with those addresses, that mark and TOS, of several ways of equal cost, too;
/// `incoming` is the interface that they come in by, `lo` for what this host sends.
pub(super) fn chosen(from: Option<IpAddr>, to: IpAddr, (mark, tos): (u32, u8), incoming: &str) -> Option<NextHop> {
    let mut request = question(to);
    set_key(&mut request, SocketKey { uid: None, tos });
    if let Some(from) = from {
        request.header.source_prefix_length = request.header.destination_prefix_length;
        request.attributes.push(RouteAttribute::Source(address(from)));
    }
    if incoming != "lo" {
        request.attributes.push(RouteAttribute::Iif(if_nametoindex(incoming).ok()?));
    }
    if mark != 0 {
        request.attributes.push(RouteAttribute::Mark(mark));
    }
    let answers = or_log("chosen way", netlink::get(RouteNetlinkMessage::GetRoute(request)))?;
    answers.iter().find_map(|message| hop(to, message))
}

/// Flag of a route whose gateway is that of an ICMP redirect (`RTCF_REDIRECTED` in `include/uapi/linux/in_route.h`).
const REDIRECTED: u32 = 0x0004_0000;

/// Reports whether the kernel sends packets from `from` to `to` to another gateway than the route says, as a router's
/// redirect said.
pub fn is_redirected(from: IpAddr, to: IpAddr) -> bool {
    let routes =
        or_log("next hop", ask(to, Some(from).filter(|from| is_own(*from)), SocketKey::default())).unwrap_or_default();
    routes.iter().any(|message| match message {
        RouteNetlinkMessage::NewRoute(route) => route.header.flags.bits() & REDIRECTED != 0,
        _ => false,
    })
}

fn hop(to: IpAddr, message: &RouteNetlinkMessage) -> Option<NextHop> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let mut hop = NextHop { address: to, ifindex: 0 };
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => hop.ifindex = *index,
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) | RouteAttribute::Via(RouteVia::Inet(v4)) => {
                hop.address = (*v4).into();
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) | RouteAttribute::Via(RouteVia::Inet6(v6)) => {
                hop.address = (*v6).into();
            }
            _ => {}
        }
    }
    (route.header.kind == RouteType::Unicast && hop.ifindex != 0).then_some(hop)
}

/// Reports whether the address that the run uses belongs to this network namespace.
pub fn own_address(address: IpAddr) -> Option<Finding> {
    (!address.is_unspecified()).then(|| Finding::Address { address, own: answers_for(address) })
}

/// Reports whether this network namespace has that address, or answers for it as one of several that have an anycast address.
fn answers_for(address: IpAddr) -> bool {
    let is_it = |message: &RouteNetlinkMessage| matches!(message, RouteNetlinkMessage::NewRoute(route) if matches!(route.header.kind, RouteType::Local | RouteType::Anycast));
    ask(address, None, SocketKey::default()).is_ok_and(|routes| routes.iter().any(is_it))
}

/// Reports whether this network namespace has that address.
pub(super) fn is_own(address: IpAddr) -> bool {
    let is_local = |message: &RouteNetlinkMessage| matches!(message, RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Local);
    ask(address, None, SocketKey::default()).is_ok_and(|routes| routes.iter().any(is_local))
}

fn ask(to: IpAddr, from: Option<IpAddr>, key: SocketKey) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut request = question(to);
    set_key(&mut request, key);
    if let Some(from) = from {
        request.header.source_prefix_length = request.header.destination_prefix_length;
        request.attributes.push(RouteAttribute::Source(address(from)));
    }
    netlink::get(RouteNetlinkMessage::GetRoute(request))
}

/// The bits of the TOS byte by which IPv4 chooses routes (`IPTOS_RT_MASK`); a question with others is refused.
pub(super) const ROUTING_TOS: u8 = 0x1c;

/// Adds to a question what `key` says.
pub(super) fn set_key(request: &mut RouteMessage, key: SocketKey) {
    request.attributes.extend(key.uid.map(RouteAttribute::Uid));
    if request.header.address_family == AddressFamily::Inet {
        request.header.tos = key.tos & ROUTING_TOS;
    }
}

/// Returns the question for the route to one address.
fn question(to: IpAddr) -> RouteMessage {
    let mut request = RouteMessage::default();
    request.header = RouteHeader {
        address_family: if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: if to.is_ipv4() { 32 } else { 128 },
        ..RouteHeader::default()
    };
    request.attributes.push(RouteAttribute::Destination(address(to)));
    request
}

/// Returns `ip` as messages about routes have it.
pub(super) fn address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}

/// Converts the kernel's reply. For a route that ends packets, IPv4 returns an error and IPv6 the route.
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

/// Returns the error that a sender gets if its route is of this type (`fib_props` in `net/ipv4/fib_semantics.c`). IPv6
/// reports such a route, IPv4 the error.
pub(crate) fn refusal(kind: RouteType) -> Option<Errno> {
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

/// Returns the name of an interface of this thread's network namespace.
pub(super) fn name(index: u32) -> Option<String> {
    or_log("interface of the route", if_indextoname(index))?.into_string().ok()
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
    fn a_route_that_ends_packets_is_matched_by_what_a_sender_gets() {
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
    fn the_next_hop_is_the_gateway_or_the_other_end_itself() {
        let to = IpAddr::from([10, 0, 0, 1]);
        let mut on_link = route(RouteType::Unicast);
        assert_eq!(hop(to, &on_link), Some(NextHop { address: to, ifindex: 1 }));
        let RouteNetlinkMessage::NewRoute(message) = &mut on_link else { panic!("a route") };
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet([10, 9, 9, 9].into())));
        assert_eq!(hop(to, &on_link), Some(NextHop { address: [10, 9, 9, 9].into(), ifindex: 1 }));
        assert_eq!(hop(to, &route(RouteType::Local)), None);
    }

    #[test]
    fn an_address_is_this_hosts_where_its_route_stays_here() {
        let own = |address: [u8; 4]| match own_address(address.into()) {
            Some(Finding::Address { own, .. }) => Some(own),
            _ => None,
        };
        assert_eq!(own([127, 0, 0, 9]), Some(true));
        assert_eq!(own([192, 0, 2, 1]), Some(false));
        assert_eq!(own([0, 0, 0, 0]), None);
    }

    #[test]
    fn every_host_has_a_route_to_itself() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let expected = Finding::Route { to: here, errno: None, interface: Some("lo".to_owned()) };
        assert_eq!(look_up(here, here, SocketKey::default()), Some(expected));
    }
}
