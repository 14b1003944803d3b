//! Links, addresses and routes through rtnetlink. Every function works in the namespace of the thread that calls it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, AsRawFd},
};

use futures_util::TryStreamExt;
use nix::libc;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection,
    packet_route::{
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
        link::{InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkMessage, State},
        route::{RouteAddress, RouteAttribute, RouteMessage},
    },
};

use super::netns::Netns;

/// Runs `work` with a netlink socket of this thread's namespace.
pub(super) fn with_netlink<T, W>(work: impl FnOnce(Handle) -> W) -> io::Result<T>
where
    W: Future<Output = io::Result<T>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = new_connection()?;
        let talking = tokio::spawn(connection);
        let result = work(handle).await;
        talking.abort();
        result
    })
}

/// Returns the kernel's errno, if the netlink error carries one.
fn kernel_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other),
    }
}

/// Returns the index of an interface that must exist.
async fn known_index(handle: &Handle, interface: &str) -> io::Result<u32> {
    let gone = || io::Error::new(io::ErrorKind::NotFound, format!("there is no interface {interface}"));
    link(handle, interface).await?.map(|link| link.index).ok_or_else(gone)
}

/// Creates a veth pair: one end, `near`, here, the other, `far`, in `far_side`.
pub(super) async fn lay_cable(handle: &Handle, near: &str, far: &str, far_side: &Netns) -> io::Result<()> {
    let peer =
        LinkMessageBuilder::<LinkUnspec>::new().name(far.to_owned()).setns_by_fd(far_side.as_fd().as_raw_fd()).build();
    let pair = LinkVeth::new(near, far).set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
    handle.link().add(pair).execute().await.map_err(kernel_error)
}

/// Brings an interface up.
pub(super) async fn switch_on(handle: &Handle, interface: &str) -> io::Result<()> {
    let index = known_index(handle, interface).await?;
    handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await.map_err(kernel_error)
}

/// Adds an address with the length of its prefix, usable at once: without duplicate address detection.
pub(super) async fn give_address(handle: &Handle, interface: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
    let index = known_index(handle, interface).await?;
    let mut request = handle.address().add(index, address, prefix);
    if address.is_ipv6() {
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    }
    request.execute().await.map_err(kernel_error)
}

/// Adds the default route through `gateway`.
pub(super) async fn add_default_route(handle: &Handle, gateway: IpAddr) -> io::Result<()> {
    let route = match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).build(),
    };
    handle.route().add(route).execute().await.map_err(kernel_error)
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
pub(super) async fn link(handle: &Handle, interface: &str) -> io::Result<Option<Link>> {
    let found = handle.link().get().match_name(interface).execute().try_next().await.map_err(kernel_error);
    match found {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        result => Ok(result?.as_ref().map(link_of)),
    }
}

/// Lists every interface in this namespace.
pub(super) async fn links(handle: &Handle) -> io::Result<Vec<Link>> {
    let found: Vec<LinkMessage> = handle.link().get().execute().try_collect().await.map_err(kernel_error)?;
    Ok(found.iter().map(link_of).collect())
}

fn link_of(message: &LinkMessage) -> Link {
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
    link
}

/// Lists the addresses in this namespace that are not link-local: interface index, address, prefix length.
pub(super) async fn addresses(handle: &Handle) -> io::Result<Vec<(u32, IpAddr, u8)>> {
    let found: Vec<AddressMessage> = handle.address().get().execute().try_collect().await.map_err(kernel_error)?;
    let global = found.into_iter().filter(|message| message.header.scope == AddressScope::Universe);
    let address = |message: AddressMessage| {
        let ip = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        });
        ip.map(|ip| (message.header.index, ip, message.header.prefix_len))
    };
    Ok(global.filter_map(address).collect())
}

/// Lists the gateways of the default routes in this namespace.
pub(super) async fn default_gateways(handle: &Handle) -> io::Result<Vec<IpAddr>> {
    let mut gateways = Vec::new();
    for question in [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()] {
        let routes: Vec<RouteMessage> =
            handle.route().get(question).execute().try_collect().await.map_err(kernel_error)?;
        let defaults = routes.iter().filter(|route| route.header.destination_prefix_length == 0);
        gateways.extend(defaults.filter_map(gateway_of));
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
