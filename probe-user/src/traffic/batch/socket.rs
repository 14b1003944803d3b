//! The raw socket of one IP version, through which all packets of that version leave.

use std::{
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd},
};

use nix::{
    errno::Errno,
    libc,
    net::if_::if_nametoindex,
    sys::socket::{ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, sendmsg, setsockopt, sockopt},
};
use probe_ebpf::Family;
use socket2::{Domain, Protocol, Socket, Type};

use super::PacketSpec;
use crate::traffic::{
    SenderError,
    options::{Ipv4MtuDiscover, Ipv6MtuDiscover},
    returned,
    sender::{Fragmentation, Sender, may_be_an_earlier_packets, receive_nothing},
};

/// How often a packet is retried because an earlier one failed.
const ATTEMPTS: usize = 16;

/// The value by which the kernel means "its own default" of a TTL or hop limit.
const DEFAULT_TTL: libc::c_int = -1;

/// A raw ICMP socket that receives nothing. It lives in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct RawSocket {
    socket: Socket,
    family: Family,
    /// The scope id of link-local destinations.
    zone: u32,
}

impl RawSocket {
    /// Opens the socket; link-local destinations are on the link of `interface`.
    pub(super) fn open(family: Family, interface: Option<&str>) -> Result<Self, SenderError> {
        let (domain, protocol) = match family {
            Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
            Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol)).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => SenderError::NotPrivileged { what: "sending a batch" },
            _ => SenderError::Setup { what: "open a raw ICMP socket", source },
        })?;
        set_up(&socket, family).map_err(|source| SenderError::Setup { what: "set up a raw ICMP socket", source })?;
        let zone = interface.and_then(|name| if_nametoindex(name).ok()).unwrap_or(0);
        Ok(Self { socket, family, zone })
    }

    /// Hands one packet to the kernel. The error is about this packet: those that arrived for earlier ones are discarded.
    pub(super) fn send(&self, packet: &PacketSpec, message: &[u8]) -> Result<(), Errno> {
        self.set_fields(packet)?;
        let mut refused = Errno::EAGAIN;
        for _ in 0..ATTEMPTS {
            let Err(errno) = self.hand_over(packet, message) else { return Ok(()) };
            let queued = returned::take(&self.socket);
            refused = errno;
            if errno != Errno::EINTR && !may_be_an_earlier_packets(errno, &queued) {
                break;
            }
        }
        Err(refused)
    }

    /// Sets the fields of the next packet's IP header, except for its addresses.
    fn set_fields(&self, packet: &PacketSpec) -> Result<(), Errno> {
        let ttl = packet.ttl.map_or(DEFAULT_TTL, libc::c_int::from);
        let forbidden = packet.fragmentation == Fragmentation::Forbidden;
        match self.family {
            Family::V4 => {
                setsockopt(&self.socket, sockopt::Ipv4Ttl, &ttl)?;
                let discover = if forbidden { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_DONT };
                setsockopt(&self.socket, Ipv4MtuDiscover, &discover)
            }
            Family::V6 => {
                setsockopt(&self.socket, sockopt::Ipv6Ttl, &ttl)?;
                setsockopt(&self.socket, sockopt::Ipv6DontFrag, &forbidden)?;
                let discover = if forbidden { libc::IPV6_PMTUDISC_PROBE } else { libc::IPV6_PMTUDISC_DONT };
                setsockopt(&self.socket, Ipv6MtuDiscover, &discover)
            }
        }
    }

    fn hand_over(&self, packet: &PacketSpec, message: &[u8]) -> Result<(), Errno> {
        match (packet.destination, packet.source) {
            (IpAddr::V4(to), None) => self.send_to(&SockaddrIn::from(SocketAddrV4::new(to, 0)), message, &[]),
            (IpAddr::V4(to), Some(IpAddr::V4(from))) => {
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: in_addr(from), ipi_addr: in_addr(from) };
                let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
                self.send_to(&to, message, &[ControlMessage::Ipv4PacketInfo(&info)])
            }
            (IpAddr::V6(to), None) => self.send_to(&self.scoped(to), message, &[]),
            (IpAddr::V6(to), Some(IpAddr::V6(from))) => {
                let zone = if from.is_unicast_link_local() { self.zone } else { 0 };
                let address = libc::in6_addr { s6_addr: from.octets() };
                let info = libc::in6_pktinfo { ipi6_addr: address, ipi6_ifindex: zone };
                self.send_to(&self.scoped(to), message, &[ControlMessage::Ipv6PacketInfo(&info)])
            }
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    fn scoped(&self, to: std::net::Ipv6Addr) -> SockaddrIn6 {
        let zone = if to.is_unicast_link_local() { self.zone } else { 0 };
        SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, zone))
    }

    fn send_to(&self, to: &impl SockaddrLike, message: &[u8], control: &[ControlMessage<'_>]) -> Result<(), Errno> {
        let socket = self.socket.as_fd().as_raw_fd();
        sendmsg(socket, &[IoSlice::new(message)], control, MsgFlags::empty(), Some(to)).map(drop)
    }
}

fn set_up(socket: &Socket, family: Family) -> io::Result<()> {
    receive_nothing(socket, family, true)?;
    // Without these a raw socket reports success when the device's queue drops a packet (raw_sendmsg).
    match family {
        Family::V4 => setsockopt(socket, sockopt::Ipv4RecvErr, &true)?,
        Family::V6 => setsockopt(socket, sockopt::Ipv6RecvErr, &true)?,
    }
    socket.set_write_timeout(Some(Sender::PATIENCE))
}

fn in_addr(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from(address).to_be() }
}
