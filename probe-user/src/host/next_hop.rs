//! The neighbour that the route to an end asks for, by which prefix, and which other route there would be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType, RouteVia},
};

use super::{device::netlink, neighbour, or_log, route};
use crate::model::{
    prefix::shares,
    request::SocketKey,
    trace::{NextHopFacts, OtherRoute},
};

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    to: IpAddr,
    bits: u8,
    gateway: Option<IpAddr>,
    ifindex: u32,
    metric: u32,
    tos: u8,
}

/// Returns the neighbour that packets from `from` to `to` make the kernel ask for; `None` if no route leads out of this
/// host.
pub fn look_up(from: IpAddr, to: IpAddr, key: SocketKey) -> Option<NextHopFacts> {
    let hop = route::next_hop(from, to, key)?;
    let taken = taken(from, to, key)?;
    let others = or_log("routes", table(to)).unwrap_or_default();
    let instead = instead(&taken, to, &others).and_then(|entry| other(&entry));
    Some(NextHopFacts {
        to,
        next: hop.address,
        interface: route::name(hop.ifindex)?,
        route: written(&taken),
        prefix: taken.bits,
        instead,
        redirected_from: taken.gateway.filter(|gateway| *gateway != hop.address && route::is_redirected(from, to)),
    })
}

/// Returns the entry of the routing table that is taken, which a plain look-up does not show.
fn taken(from: IpAddr, to: IpAddr, key: SocketKey) -> Option<Entry> {
    let mut request = question(to);
    route::set_key(&mut request, key);
    request.header.flags |= RouteFlags::FibMatch;
    request.attributes.push(RouteAttribute::Destination(route::address(to)));
    if route::is_own(from) {
        request.header.source_prefix_length = if to.is_ipv4() { 32 } else { 128 };
        request.attributes.push(RouteAttribute::Source(route::address(from)));
    }
    let answers = or_log("route entry", netlink::get(RouteNetlinkMessage::GetRoute(request)))?;
    answers.iter().find_map(entry)
}

fn table(to: IpAddr) -> std::io::Result<Vec<Entry>> {
    let mut request = question(to);
    request.header.destination_prefix_length = 0;
    let answers = netlink::dump(&RouteNetlinkMessage::GetRoute(request))?;
    Ok(answers.iter().filter(|answer| is_main(answer)).filter_map(entry).collect())
}

fn is_main(message: &RouteNetlinkMessage) -> bool {
    matches!(message, RouteNetlinkMessage::NewRoute(route) if route.header.table == RouteHeader::RT_TABLE_MAIN)
}

/// Returns the route via a gateway that would be taken if `taken` did not exist.
fn instead(taken: &Entry, to: IpAddr, others: &[Entry]) -> Option<Entry> {
    let fits = |entry: &&Entry| {
        entry.gateway.is_some() && entry.gateway != taken.gateway && covers(entry, to) && entry.bits <= taken.bits
    };
    let mut found: Vec<&Entry> = others.iter().filter(fits).collect();
    found.sort_by_key(|entry| (u8::MAX - entry.bits, entry.metric));
    found.first().map(|entry| (*entry).clone())
}

fn covers(entry: &Entry, to: IpAddr) -> bool {
    shares(entry.to, to, entry.bits)
}

fn other(entry: &Entry) -> Option<OtherRoute> {
    let gateway = entry.gateway?;
    let interface = route::name(entry.ifindex)?;
    let state = neighbour::state(gateway, entry.ifindex);
    Some(OtherRoute { route: written(entry), gateway, interface, state })
}

fn written(entry: &Entry) -> String {
    let to = if entry.bits == 0 { "default".to_owned() } else { format!("{}/{}", entry.to, entry.bits) };
    if entry.tos == 0 { to } else { format!("{to} tos {:#x}", entry.tos) }
}

fn question(to: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: if to.is_ipv4() { 32 } else { 128 },
        ..RouteHeader::default()
    };
    message
}

fn entry(message: &RouteNetlinkMessage) -> Option<Entry> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let nowhere = match route.header.address_family {
        AddressFamily::Inet => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let mut entry = Entry {
        to: nowhere,
        bits: route.header.destination_prefix_length,
        gateway: None,
        ifindex: 0,
        metric: 0,
        tos: route.header.tos,
    };
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => entry.to = (*v4).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => entry.to = (*v6).into(),
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) | RouteAttribute::Via(RouteVia::Inet(v4)) => {
                entry.gateway = Some((*v4).into());
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) | RouteAttribute::Via(RouteVia::Inet6(v6)) => {
                entry.gateway = Some((*v6).into());
            }
            RouteAttribute::Oif(index) => entry.ifindex = *index,
            // Ways of equal cost: the first stands for all of them, since only other routes matter here.
            RouteAttribute::MultiPath(hops) => {
                entry.ifindex = hops.first().map_or(0, |hop| hop.interface_index);
            }
            RouteAttribute::Priority(metric) => entry.metric = *metric,
            _ => {}
        }
    }
    (route.header.kind == RouteType::Unicast && entry.ifindex != 0).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(to: [u8; 4], bits: u8, gateway: Option<[u8; 4]>, metric: u32) -> Entry {
        Entry { to: to.into(), bits, gateway: gateway.map(IpAddr::from), ifindex: 2, metric, tos: 0 }
    }

    #[test]
    fn the_next_shorter_route_by_a_gateway_would_be_taken_instead() {
        let wide = route([192, 168, 0, 0], 16, None, 0);
        let fallback = route([0, 0, 0, 0], 0, Some([192, 168, 0, 1]), 100);
        let worse = route([0, 0, 0, 0], 0, Some([192, 168, 0, 2]), 200);
        let elsewhere = route([10, 0, 0, 0], 8, Some([192, 168, 0, 3]), 0);
        let all = [wide.clone(), worse.clone(), fallback.clone(), elsewhere];
        let to = IpAddr::from([192, 168, 31, 20]);
        assert_eq!(instead(&wide, to, &all), Some(fallback.clone()));
        assert_eq!(instead(&fallback, to, &all), Some(worse));
        assert_eq!(instead(&wide, to, std::slice::from_ref(&wide)), None);
        assert_eq!((written(&wide), written(&fallback)), ("192.168.0.0/16".to_owned(), "default".to_owned()));
    }
}
