//! Reads ICMP errors that quote echo requests, whoever sent those: what a raw socket of this host receives, from
//! routers and from this host itself. It sends nothing.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
};

use probe_ebpf::{
    Echo, Family, Kind,
    packet::{ICMP_HEADER, IPV6_HEADER},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::prober::{
    filter::{ReplyChoice, refuse_types},
    incoming::{IncomingMessage, read_v4, read_v6},
};

/// Enough for IP headers with options, an error, and the quoted headers.
const MOST_BYTES: usize = 1280;

/// An ICMP error about an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotedRequest {
    /// Who sent the error.
    pub from: IpAddr,
    /// Its type on the wire.
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
    /// The MTU of the next link, if it tells one.
    pub next_mtu: Option<u32>,
    /// The target of the request.
    pub to: IpAddr,
    /// The request's echo id.
    pub id: u16,
    /// Its sequence number.
    pub seq: u16,
}

/// Reads such errors until it is dropped.
#[derive(Debug)]
pub struct QuotedErrors {
    sockets: Vec<(Family, Socket)>,
}

impl QuotedErrors {
    /// Opens raw sockets for both IP versions, as far as this host has them.
    ///
    /// # Errors
    /// Those of socket(2): this needs `CAP_NET_RAW`.
    pub fn open() -> io::Result<Self> {
        let v4 = opened(Family::V4)?;
        // A kernel without IPv6 has no such errors.
        let sockets = [Some((Family::V4, v4)), opened(Family::V6).ok().map(|socket| (Family::V6, socket))];
        Ok(Self { sockets: sockets.into_iter().flatten().collect() })
    }

    /// Returns the errors that came since the last call.
    pub fn take(&mut self) -> Vec<QuotedRequest> {
        let mut seen = Vec::new();
        for (family, socket) in &mut self.sockets {
            let mut packet = [std::mem::MaybeUninit::uninit(); MOST_BYTES];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                // SAFETY: the kernel wrote the first `length` bytes.
                let bytes = unsafe { std::slice::from_raw_parts(packet.as_ptr().cast::<u8>(), length) };
                seen.extend(read(bytes, *family, from.as_socket().map(|from| from.ip())));
            }
        }
        seen
    }
}

fn opened(family: Family) -> io::Result<Socket> {
    let socket = match family {
        Family::V4 => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?,
        Family::V6 => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?,
    };
    refuse_types(&socket, family, ReplyChoice::Left)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Parses what a raw socket received: over IPv4 with the IP header, over IPv6 without.
fn read(bytes: &[u8], family: Family, sender: Option<IpAddr>) -> Option<QuotedRequest> {
    let (from, message, quoted) = match family {
        Family::V4 => {
            let (from, _, message) = read_v4(bytes, 0)?;
            let header = usize::from(bytes.first()? & 0xf) * 4;
            let to = <[u8; 4]>::try_from(bytes.get(header + ICMP_HEADER + 16..)?.get(..4)?).ok()?;
            (from, message, IpAddr::from(to))
        }
        Family::V6 => {
            let to = <[u8; 16]>::try_from(bytes.get(ICMP_HEADER + 24..ICMP_HEADER + IPV6_HEADER)?).ok()?;
            (sender?, read_v6(bytes, 0)?, Ipv6Addr::from(to).into())
        }
    };
    let IncomingMessage::Error { icmp_type, code, next_mtu, quote } = message else { return None };
    let request = quote.icmp_type == (Kind { family, echo: Echo::Request }).icmp_type();
    request.then_some(QuotedRequest { from, icmp_type, code, next_mtu, to: quoted, id: quote.id, seq: quote.seq })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_request_is_told_with_whom_it_was_for() {
        let mut packet = vec![0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9];
        packet.extend([3, 1, 0, 0, 0, 0, 0, 0]);
        packet.extend([0x45, 0, 0, 84, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 9, 10, 0, 0, 2]);
        packet.extend([8, 0, 0, 0, 0x12, 0x34, 0, 7]);
        let expected = QuotedRequest {
            from: [10, 0, 0, 1].into(),
            icmp_type: 3,
            code: 1,
            next_mtu: None,
            to: [10, 0, 0, 2].into(),
            id: 0x1234,
            seq: 7,
        };
        assert_eq!(read(&packet, Family::V4, None), Some(expected));
        // An error about a reply does not count.
        packet[48] = 0;
        assert_eq!(read(&packet, Family::V4, None), None);
        assert_eq!(read(&packet[..47], Family::V4, None), None);
    }
}
