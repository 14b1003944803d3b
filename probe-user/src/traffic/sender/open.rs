//! Opens the socket of a sender.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    libc,
    net::if_::if_nametoindex,
    sys::socket::{setsockopt, sockopt},
};
use probe_ebpf::{Echo, Family};
use socket2::{SockAddr, SockFilter, Socket, Type};

use super::{
    Fragmentation, Sender, SenderError, Settings, SocketType,
    icmp_socket::{errno, new_socket, setup, unopened},
    program,
};
use crate::host::identity::SocketRights;
use crate::traffic::options::{IcmpFilter, Icmpv6Filter, Ipv4MtuDiscover, Ipv6MtuDiscover};

/// Room for some dozens of errors. Packets are never queued here.
const RECEIVE_BUFFER_BYTES: usize = 32 * 1024;

/// Opens and sets up the socket that `settings` ask for.
pub(super) fn socket(settings: &Settings) -> Result<(Socket, SocketType), SenderError> {
    check(settings)?;
    let (socket, is_raw) = match &settings.program {
        Some(_) => program::open(settings)?,
        None => match raw_socket(settings)? {
            Some(socket) => (socket, true),
            None => (ping_socket(settings)?, false),
        },
    };
    match &settings.program {
        Some(_) => program::listen(&socket, settings, is_raw).map_err(setup("open the receiving side"))?,
        None => receive_nothing(&socket, settings.kind().family, is_raw).map_err(setup("close the receiving side"))?,
    }
    if let Some(name) = &settings.interface {
        socket.bind_device(Some(name.as_bytes())).map_err(setup("bind to the interface"))?;
    }
    match settings.kind().family {
        Family::V4 => set_v4(&socket, settings).map_err(setup("set the fields of the IPv4 header"))?,
        Family::V6 => set_v6(&socket, settings).map_err(setup("set the fields of the IPv6 header"))?,
    }
    if let Some(mark) = settings.mark {
        setsockopt(&socket, sockopt::Mark, &mark).map_err(setup("mark the packets"))?;
    }
    if let Some(asked) = &settings.program {
        program::set(&socket, settings, asked)?;
    }
    let way = bind(&socket, settings, is_raw)?;
    socket.set_write_timeout(Some(Sender::PATIENCE)).map_err(setup("bound how long a send waits"))?;
    Ok((socket, way))
}

/// Returns the target without its port, as raw IPv6 sockets take a port for a protocol number, and with the flow label.
pub(super) fn address(settings: &Settings) -> SockAddr {
    let mut address = settings.target;
    address.set_port(0);
    if let (SocketAddr::V6(v6), Some(program)) = (&mut address, &settings.program) {
        v6.set_flowinfo(program.flow_label.unwrap_or(0).to_be());
    }
    address.into()
}

/// Checks what can be checked before any socket exists.
fn check(settings: &Settings) -> Result<(), SenderError> {
    let target = settings.target.ip();
    if let Some(from) = settings.source.filter(|from| from.is_ipv4() != target.is_ipv4()) {
        return Err(SenderError::MixedFamilies { from, target });
    }
    let Some(name) = &settings.interface else { return Ok(()) };
    if if_nametoindex(name.as_str()).is_err() {
        return Err(SenderError::NoInterface { name: name.clone() });
    }
    if target.is_ipv6() && !has_ipv6(name) {
        return Err(SenderError::NoIpv6 { name: name.clone(), target });
    }
    Ok(())
}

/// Reports whether the interface has any IPv6 address; true if that can't be read, since the kernel's own error is clearer.
fn has_ipv6(name: &str) -> bool {
    let Ok(mut interfaces) = getifaddrs() else { return true };
    interfaces.any(|entry| {
        entry.interface_name == name && entry.address.is_some_and(|address| address.as_sockaddr_in6().is_some())
    })
}

/// Opens a raw socket; `None` if the caller may not have one.
fn raw_socket(settings: &Settings) -> Result<Option<Socket>, SenderError> {
    match new_socket(settings, Type::RAW, SocketRights::Raw) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) => match errno(&error) {
            Some(Errno::EPERM | Errno::EACCES) => Ok(None),
            _ => Err(unopened(settings, error)),
        },
    }
}

/// Opens a ping socket, if a ping socket can send these packets.
fn ping_socket(settings: &Settings) -> Result<Socket, SenderError> {
    let what = match (settings.echo, settings.code, settings.id) {
        (Echo::Reply, ..) => "sending an echo reply",
        (_, 1.., _) => "sending a code other than 0",
        (_, _, Some(0)) => "sending id 0",
        _ => {
            return new_socket(settings, Type::DGRAM, SocketRights::Own).map_err(|error| match errno(&error) {
                Some(Errno::EACCES | Errno::EPERM) => SenderError::PingRefused,
                _ => unopened(settings, error),
            });
        }
    };
    Err(SenderError::NotPrivileged { what })
}

/// Keeps copies of incoming ICMP from filling the socket's memory: types are refused before they are copied, and what passes
/// that (ping sockets, types from 32 on) is dropped by a filter. Errors still arrive, through the error queue.
pub(in crate::traffic) fn receive_nothing(socket: &Socket, family: Family, is_raw: bool) -> io::Result<()> {
    match family {
        Family::V4 if is_raw => setsockopt(socket, IcmpFilter, &u32::MAX)?,
        Family::V6 if is_raw => setsockopt(socket, Icmpv6Filter, &[u32::MAX; 8])?,
        _ => {}
    }
    // Classic BPF, BPF_RET | BPF_K: keep no byte.
    socket.attach_filter(&[SockFilter::new(0x06, 0, 0, 0)])?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)
}

fn set_v4(socket: &Socket, settings: &Settings) -> io::Result<()> {
    // Without this a raw socket reports success when the device's queue drops a packet (raw_sendmsg).
    setsockopt(socket, sockopt::Ipv4RecvErr, &true)?;
    socket.set_broadcast(settings.program.as_ref().is_none_or(|program| program.broadcast))?;
    socket.set_tos_v4(tos(settings))?;
    if let Some(ttl) = settings.ttl {
        socket.set_ttl_v4(ttl.into())?;
        socket.set_multicast_ttl_v4(ttl.into())?;
    }
    let discover = match settings.fragmentation {
        Fragmentation::Allowed => libc::IP_PMTUDISC_DONT,
        Fragmentation::Forbidden => libc::IP_PMTUDISC_PROBE,
        Fragmentation::OnThisHost => libc::IP_PMTUDISC_WANT,
        Fragmentation::Nowhere => libc::IP_PMTUDISC_DO,
        Fragmentation::AsHost => return Ok(()),
    };
    Ok(setsockopt(socket, Ipv4MtuDiscover, &discover)?)
}

fn set_v6(socket: &Socket, settings: &Settings) -> io::Result<()> {
    setsockopt(socket, sockopt::Ipv6RecvErr, &true)?;
    socket.set_tclass_v6(tos(settings))?;
    if let Some(hops) = settings.ttl {
        socket.set_unicast_hops_v6(hops.into())?;
        socket.set_multicast_hops_v6(hops.into())?;
    }
    let discover = match settings.fragmentation {
        Fragmentation::Allowed | Fragmentation::AsHost => return Ok(()),
        Fragmentation::Forbidden => {
            setsockopt(socket, sockopt::Ipv6DontFrag, &true)?;
            libc::IPV6_PMTUDISC_PROBE
        }
        Fragmentation::OnThisHost => libc::IPV6_PMTUDISC_WANT,
        Fragmentation::Nowhere => libc::IPV6_PMTUDISC_DO,
    };
    Ok(setsockopt(socket, Ipv6MtuDiscover, &discover)?)
}

/// Returns the byte that holds DSCP and congestion notification.
fn tos(settings: &Settings) -> u32 {
    u32::from(settings.dscp) << 2 | u32::from(settings.ecn & 3)
}

/// Binds to the source address, and a ping socket to its id; returns that id.
fn bind(socket: &Socket, settings: &Settings, is_raw: bool) -> Result<SocketType, SenderError> {
    if is_raw && settings.source.is_none() {
        return Ok(SocketType::Raw);
    }
    if !is_raw {
        // Two ping sockets may share an id, and this one would then take the other one's replies.
        socket.set_reuse_address(false).map_err(setup("ask for an id of its own"))?;
    }
    // A ping socket's port is its id, and port 0 is the kernel's choice.
    let port = if is_raw { 0 } else { settings.id.unwrap_or(0) };
    socket.bind(&source(settings, port).into()).map_err(|error| match (errno(&error), settings.source) {
        (Some(Errno::EADDRINUSE), _) => SenderError::IdTaken { id: port },
        (Some(Errno::EADDRNOTAVAIL), Some(from)) => SenderError::ForeignSource { from },
        (Some(Errno::EINVAL), Some(from @ IpAddr::V6(_))) => SenderError::SourceNeedsInterface { from },
        _ => setup("bind to the source address")(error),
    })?;
    if is_raw {
        return Ok(SocketType::Raw);
    }
    let own = socket.local_addr().map_err(setup("read the id of the ping socket"))?;
    Ok(SocketType::Ping { id: own.as_socket().map_or(0, |address| address.port()) })
}

/// Returns the address to bind to; a link-local one gets the interface or the target's zone as its own.
fn source(settings: &Settings, port: u16) -> SocketAddr {
    let any = match settings.target {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let mut address = SocketAddr::new(settings.source.unwrap_or(any), port);
    if let SocketAddr::V6(v6) = &mut address
        && v6.ip().is_unicast_link_local()
    {
        let interface = settings.interface.as_deref().and_then(|name| if_nametoindex(name).ok());
        let zone = match settings.target {
            SocketAddr::V6(target) => target.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        v6.set_scope_id(interface.unwrap_or(zone));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(target: &str) -> Settings {
        Settings::new(Echo::Request, SocketAddr::new(target.parse().expect("an address"), 0))
    }

    #[test]
    fn source_and_target_must_be_of_one_family() {
        let mixed = Settings { source: Some(Ipv6Addr::LOCALHOST.into()), ..settings("127.0.0.1") };
        assert!(matches!(check(&mixed), Err(SenderError::MixedFamilies { .. })));
    }

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let error = check(&Settings { interface: Some("nope9".into()), ..settings("127.0.0.1") }).expect_err("none");
        assert_eq!(error.to_string(), "no interface 'nope9' in this network namespace");
    }

    #[test]
    fn a_ping_socket_is_not_asked_for_what_it_cannot_send() {
        let what = |settings: &Settings| ping_socket(settings).expect_err("not with a ping socket").to_string();
        let reply = Settings { echo: Echo::Reply, ..settings("127.0.0.1") };
        assert!(what(&reply).contains("an echo reply needs CAP_NET_RAW"));
        assert!(what(&Settings { code: 1, ..settings("127.0.0.1") }).contains("a code other than 0"));
        assert!(what(&Settings { id: Some(0), ..settings("127.0.0.1") }).contains("id 0"));
    }

    #[test]
    fn a_link_local_source_is_of_the_targets_zone() {
        let target = std::net::SocketAddrV6::new("fe80::2".parse().expect("an address"), 0, 0, 7);
        let from = Some("fe80::1".parse().expect("an address"));
        let address = source(&Settings { source: from, ..Settings::new(Echo::Request, target.into()) }, 0);
        assert!(matches!(address, SocketAddr::V6(v6) if v6.scope_id() == 7));
    }
}
