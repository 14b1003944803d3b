//! Links, addresses and routes by netlink. Every function works in the namespace of the thread that calls it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd},
};

use nix::libc;
use rtnetlink::{
    AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
        link::{InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkMessage, State},
        route::{RouteAddress, RouteAttribute, RouteMessage},
    },
};

use super::netns::Netns;
use crate::host::device::netlink;

/// Returns the index of an interface that must exist.
fn known_index(interface: &str) -> io::Result<u32> {
    let gone = || io::Error::new(io::ErrorKind::NotFound, format!("there is no interface {interface}"));
    link(interface)?.map(|link| link.index).ok_or_else(gone)
}

/// Creates a veth pair: one end, `near`, here, the other, `far`, in `far_side`.
pub(super) fn lay_cable(near: &str, far: &str, far_side: &Netns) -> io::Result<()> {
    let peer =
        LinkMessageBuilder::<LinkUnspec>::new().name(far.to_owned()).setns_by_fd(far_side.as_fd().as_raw_fd()).build();
    let pair = LinkVeth::new(near, far).set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
    netlink::create(RouteNetlinkMessage::NewLink(pair))
}

/// Brings an interface up.
pub(super) fn switch_on(interface: &str) -> io::Result<()> {
    let message = LinkUnspec::new_with_index(known_index(interface)?).up().build();
    netlink::change(RouteNetlinkMessage::SetLink(message))
}

/// Adds an address with the length of its prefix, usable at once: without duplicate address detection.
pub(super) fn give_address(interface: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
    let index = known_index(interface)?;
    let message = match address {
        IpAddr::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, prefix).build(),
        IpAddr::V6(address) => {
            let mut message = AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(address, prefix).build();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message
        }
    };
    netlink::create(RouteNetlinkMessage::NewAddress(message))
}

/// Adds the default route through `gateway`.
pub(super) fn add_default_route(gateway: IpAddr) -> io::Result<()> {
    let route = match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).build(),
    };
    netlink::create(RouteNetlinkMessage::NewRoute(route))
}

/// An interface as the kernel shows it.
pub(super) struct Link {
    /// Its name.
    pub(super) name: String,
    /// Its index in this namespace.
    pub(super) index: u32,
    /// Whether it can carry packets now: switched on, with a carrier, and its queue attached.
    pub(super) ready: bool,
}

/// Looks up one interface. Since Linux 6.8, a request for a single link makes the kernel finish its pending carrier
/// events; otherwise that takes up to a second (`linkwatch_sync_dev` in `net/core/link_watch.c`).
pub(super) fn link(interface: &str) -> io::Result<Option<Link>> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName(interface.to_owned()));
    match netlink::get(RouteNetlinkMessage::GetLink(request)) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        answer => Ok(answer?.iter().find_map(link_of)),
    }
}

/// Lists every interface in this namespace.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let found = netlink::dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(found.iter().filter_map(link_of).collect())
}

fn link_of(message: &RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let mut link = Link { name: String::new(), index: message.header.index, ready: false };
    let loopback = message.header.flags.contains(LinkFlags::Loopback | LinkFlags::Up);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            // Loopback has no operational state; being switched on is all it needs.
            LinkAttribute::OperState(state) => link.ready = loopback || *state == State::Up,
            _ => {}
        }
    }
    Some(link)
}

/// Lists the addresses in this namespace that are not link-local: interface index, address, prefix length.
pub(super) fn addresses() -> io::Result<Vec<(u32, IpAddr, u8)>> {
    let found = netlink::dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let address = |message: RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewAddress(message) = message else { return None };
        let ip = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        })?;
        let global = message.header.scope == AddressScope::Universe;
        global.then_some((message.header.index, ip, message.header.prefix_len))
    };
    Ok(found.into_iter().filter_map(address).collect())
}

/// Lists the gateways of the default routes in this namespace.
pub(super) fn default_gateways() -> io::Result<Vec<IpAddr>> {
    let mut gateways = Vec::new();
    for question in [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()] {
        let routes = netlink::dump(&RouteNetlinkMessage::GetRoute(question))?;
        gateways.extend(routes.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(route) if route.header.destination_prefix_length == 0 => gateway_of(route),
            _ => None,
        }));
    }
    Ok(gateways)
}

fn gateway_of(route: &RouteMessage) -> Option<IpAddr> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => Some(IpAddr::V4(*gateway)),
        RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => Some(IpAddr::V6(*gateway)),
        _ => None,
    })
}
