//! The route of packets to an address out of this network namespace: the kernel's own answer.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType},
};
use nix::{errno::Errno, libc};

use crate::host::{
    device::{Device, netlink},
    route::refusal,
};

/// The route to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface that packets leave by; `lo` if the address is one of this host's.
    pub interface: String,
    /// Their source address if the sender does not choose one.
    pub source: Option<IpAddr>,
}

/// Looks up the route to `target`, for packets from `source` if one is given, out of interface `out` if one is chosen. The
/// scope id of a link-local address is respected.
///
/// # Errors
/// The errno that sending would get too, such as `ENETUNREACH`.
pub fn way_to(target: SocketAddr, source: Option<IpAddr>, out: Option<&Device>) -> Result<Route, Errno> {
    way_of(&question(target, source, out))
}

/// Looks up the same for packets with this `mark`, these bits of TOS or traffic class, and of this user, by all of which rules
/// may choose another route.
///
/// # Errors
/// As [`way_to`].
pub fn way_with(
    target: SocketAddr,
    source: Option<IpAddr>,
    out: Option<&Device>,
    (mark, tos, uid): (Option<u32>, u8, Option<u32>),
) -> Result<Route, Errno> {
    let mut message = question(target, source, out);
    message.header.tos = if target.is_ipv4() { tos & 0x1c } else { 0 };
    message.attributes.extend(mark.map(RouteAttribute::Mark));
    message.attributes.extend(uid.map(RouteAttribute::Uid));
    way_of(&message)
}

/// Reports whether `target` is a broadcast address of this host's routes.
pub fn is_broadcast(target: SocketAddr, source: Option<IpAddr>, out: Option<&Device>) -> bool {
    look_up(&question(target, source, out)).is_ok_and(|route| route.header.kind == RouteType::Broadcast)
}

fn way_of(question: &RouteMessage) -> Result<Route, Errno> {
    let message = look_up(question)?;
    if let Some(errno) = refusal(message.header.kind) {
        return Err(errno);
    }
    let local = message.header.kind == RouteType::Local;
    let mut way = Route { interface: String::new(), source: None };
    let mut index = 0;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => index = *oif,
            RouteAttribute::PrefSource(address) => way.source = ip(address),
            _ => {}
        }
    }
    let devices = Device::all().map_err(|_| Errno::EIO)?;
    let found = devices.iter().find(|device| if local { device.loopback } else { device.ifindex == index });
    way.interface = found.map(|device| device.name.clone()).ok_or(Errno::ENODEV)?;
    let asked = question.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Source(address) => ip(address),
        _ => None,
    });
    way.source = asked.or(way.source);
    Ok(way)
}

/// Reports whether a route to `target` leads out of `out`. If none does, IPv4 sends to it nevertheless, as if the
/// target were on that link (`ip_route_output_key_hash_rcu` in `net/ipv4/route.c`).
pub fn carries(target: SocketAddr, source: Option<IpAddr>, out: &Device) -> bool {
    let mut message = question(target, source, Some(out));
    message.header.flags |= RouteFlags::FibMatch;
    look_up(&message).is_ok_and(|route| refusal(route.header.kind).is_none())
}

/// Returns the interface that has `address`.
pub fn owner(address: IpAddr) -> Option<Device> {
    Device::all().ok()?.into_iter().find(|device| match address {
        IpAddr::V4(v4) => device.v4.contains(&v4),
        IpAddr::V6(v6) => device.v6.contains(&v6),
    })
}

/// Returns the addresses of an interface that have the IP version of `first`, which comes first; link-local ones only if
/// `first` is one itself.
pub fn addresses(interface: &str, first: IpAddr) -> Vec<IpAddr> {
    let Ok(device) = Device::find(interface) else { return vec![first] };
    let v4 = device.v4.iter().copied().map(IpAddr::from).filter(|_| first.is_ipv4());
    let v6 = device.v6.iter().copied().filter(|v6| !v6.is_unicast_link_local()).map(IpAddr::from);
    let others = v4.chain(v6.filter(|_| first.is_ipv6())).filter(|address| *address != first);
    std::iter::once(first).chain(others).collect()
}

/// Returns every address of this network namespace that has the IP version of `like` and is neither link-local nor of a
/// loopback device; at most as many as a report can hold.
pub fn own_addresses(like: IpAddr) -> Vec<IpAddr> {
    const MOST: usize = 64;
    let devices = Device::all().unwrap_or_default();
    let of = |device: &Device| -> Vec<IpAddr> {
        let v4 = device.v4.iter().copied().map(IpAddr::from).filter(|_| like.is_ipv4());
        let v6 = device.v6.iter().copied().filter(|v6| !v6.is_unicast_link_local()).map(IpAddr::from);
        v4.chain(v6.filter(|_| like.is_ipv6())).filter(|address| !address.is_loopback()).collect()
    };
    devices.iter().flat_map(of).take(MOST).collect()
}

fn look_up(question: &RouteMessage) -> Result<RouteMessage, Errno> {
    let answers = netlink::get(RouteNetlinkMessage::GetRoute(question.clone()))
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let route = |answer| if let RouteNetlinkMessage::NewRoute(route) = answer { Some(route) } else { None };
    answers.into_iter().find_map(route).ok_or(Errno::EIO)
}

/// Builds the request: for a full address, and as ICMP, which rules may route differently from other traffic.
fn question(target: SocketAddr, source: Option<IpAddr>, out: Option<&Device>) -> RouteMessage {
    let zone = match target {
        SocketAddr::V6(v6) => v6.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    let target = target.ip();
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if target.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: if target.is_ipv4() { 32 } else { 128 },
        ..RouteHeader::default()
    };
    message.attributes.push(RouteAttribute::Destination(address(target)));
    if let Some(source) = source.filter(|source| source.is_ipv4() == target.is_ipv4()) {
        message.header.source_prefix_length = if source.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Source(address(source)));
    }
    let out = out.map_or(zone, |device| device.ifindex);
    if out != 0 {
        message.attributes.push(RouteAttribute::Oif(out));
    }
    let protocol = if target.is_ipv4() { libc::IPPROTO_ICMP } else { libc::IPPROTO_ICMPV6 };
    let protocol = u8::try_from(protocol).expect("a byte in the IP header");
    message.attributes.push(RouteAttribute::IpProto(protocol));
    message
}

fn address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}
