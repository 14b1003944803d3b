//! A packet socket that sends probes past routing and netfilter, as a whole IP packet to a link-layer address.

use std::{io, net::IpAddr};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::traffic::{EchoMessage, Frame, Settings, error_tap::link_address_of};

/// Where packets that bypass routing and netfilter go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRoute {
    /// The interface.
    pub ifindex: u32,
    /// The link-layer address of the next hop; none: the device has none.
    pub next_hop: Option<[u8; 6]>,
    /// The source address of the packets.
    pub source: IpAddr,
}

/// Such a socket.
#[derive(Debug)]
pub(super) struct LinkSocket {
    socket: Socket,
    route: LinkRoute,
    ttl: u8,
    dscp: u8,
    settings: Settings,
}

/// The TTL of a host that does not set another.
const TTL: u8 = 64;

impl LinkSocket {
    /// Opens one for packets with these settings.
    ///
    /// # Errors
    /// Those of socket(2): this needs `CAP_NET_RAW`.
    pub(super) fn open(settings: &Settings, route: LinkRoute) -> io::Result<Self> {
        // Protocol 0: it receives nothing.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        let (ttl, dscp) = (settings.ttl.unwrap_or(TTL), settings.dscp);
        Ok(Self { socket, route, ttl, dscp, settings: settings.clone() })
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// The errno of the send call.
    pub(super) fn send(&self, id: u16, seq: u16, payload: &[u8]) -> Result<(), Errno> {
        let kind = self.settings.kind();
        let message = EchoMessage::new(kind, id, seq, payload).code(self.settings.code);
        let bytes = match (self.route.source, self.settings.target.ip()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                Frame::v4(source, target, &message).ttl(self.ttl).dscp(self.dscp).ip_bytes()
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                Frame::v6(source, target, &message).ttl(self.ttl).dscp(self.dscp).ip_bytes()
            }
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        let to = link_address_of(self.route.ifindex, kind.family, self.route.next_hop);
        self.socket.send_to(&bytes, &to).map(drop).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
    }
}
