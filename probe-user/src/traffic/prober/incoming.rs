//! What an ICMP message that arrived means for a run of probes: pure, from bytes.

use std::net::{IpAddr, Ipv4Addr};

use probe_ebpf::{
    Echo, Family, Kind,
    packet::{ICMP, ICMP_HEADER, ICMPV6, IPV6_HEADER, tunnel},
    tunnel::Tunnels,
};

use super::mark::marked;

const NEXT_HEADER_FRAGMENT: u8 = 44;

/// ICMP source quench (RFC 792): deprecated, and it does not mean that the packet was dropped.
pub(super) const SOURCE_QUENCH: u8 = 4;
/// ICMP redirect (RFC 792): the packet was forwarded.
pub(super) const REDIRECT: u8 = 5;

/// The ICMP errors that are read: unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792).
pub(in crate::traffic) const ERRORS_V4: [u8; 5] = [3, SOURCE_QUENCH, REDIRECT, 11, 12];
/// The `ICMPv6` errors that are read: unreachable, too big, time exceeded, parameter problem (RFC 4443 §3).
pub(in crate::traffic) const ERRORS_V6: [u8; 4] = [1, 2, 3, 4];

/// An ICMP message about a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::traffic) enum IncomingMessage {
    /// An echo reply with a mark of the run.
    Reply {
        /// Which probe.
        probe: u16,
        /// Echo id.
        id: u16,
    },
    /// An ICMP error.
    Error {
        /// Its type on the wire.
        icmp_type: u8,
        /// Its code.
        code: u8,
        /// The MTU of the next link, if it tells one.
        next_mtu: Option<u32>,
        /// The packet that it is about.
        quote: QuotedMessage,
    },
}

/// The echo message that an ICMP error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::traffic) struct QuotedMessage {
    /// Its type on the wire.
    pub(in crate::traffic) icmp_type: u8,
    /// Its id.
    pub(in crate::traffic) id: u16,
    /// Its sequence number.
    pub(in crate::traffic) seq: u16,
    /// The probe's number and the nonce, if the quote is long enough and has a mark.
    pub(in crate::traffic) mark: Option<(u16, u64)>,
    /// Whether the quote is long enough for a mark.
    pub(in crate::traffic) whole: bool,
}

/// Parses an IPv4 packet as a raw socket delivers it, from its IP header on: its sender, its TTL, and its message.
pub(in crate::traffic) fn read_v4(packet: &[u8], nonce: u64) -> Option<(IpAddr, u8, IncomingMessage)> {
    let header = ipv4_header_bytes(packet)?;
    let from = Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(12..16)?).ok()?);
    let message = read(packet.get(header..)?, Family::V4, nonce)?;
    Some((from.into(), *packet.get(8)?, message))
}

/// Parses an `ICMPv6` message as a raw socket delivers it, without its IP header.
pub(in crate::traffic) fn read_v6(message: &[u8], nonce: u64) -> Option<IncomingMessage> {
    read(message, Family::V6, nonce)
}

fn read(message: &[u8], family: Family, nonce: u64) -> Option<IncomingMessage> {
    let (icmp_type, code) = (*message.first()?, *message.get(1)?);
    if icmp_type == (Kind { family, echo: Echo::Reply }).icmp_type() {
        let (probe, _) = marked(message.get(ICMP_HEADER..)?).filter(|(_, found)| *found == nonce)?;
        return Some(IncomingMessage::Reply { probe, id: word(message, 4)? });
    }
    let quoted = message.get(ICMP_HEADER..)?;
    let (is_error, echo) = match family {
        Family::V4 => (ERRORS_V4.contains(&icmp_type), quoted_v4(quoted)),
        Family::V6 => (ERRORS_V6.contains(&icmp_type), quoted_v6(quoted)),
    };
    let echo = echo.filter(|_| is_error)?;
    Some(IncomingMessage::Error { icmp_type, code, next_mtu: next_mtu(message, family), quote: quote(echo)? })
}

/// Returns the MTU that an ICMP error tells: "fragmentation needed" in its second word (RFC 1191 §4), where an old router leaves
/// 0, and "packet too big" (RFC 4443 §3.2).
pub(in crate::traffic) fn next_mtu(message: &[u8], family: Family) -> Option<u32> {
    let mtu = match (family, *message.first()?, *message.get(1)?) {
        (Family::V4, 3, 4) => word(message, 6)?.into(),
        (Family::V6, 2, _) => u32::from(word(message, 4)?) << 16 | u32::from(word(message, 6)?),
        _ => 0,
    };
    (mtu > 0).then_some(mtu)
}

/// Parses the ICMP error at the start of `message` whose quote is a packet of one of `tunnels`: its type and code, and the echo
/// inside of what it quotes, with the IP version of that.
pub(in crate::traffic) fn read_around(
    message: &[u8],
    family: Family,
    tunnels: &Tunnels,
) -> Option<(u8, u8, QuotedMessage, Family)> {
    let (icmp_type, code) = (*message.first()?, *message.get(1)?);
    let errors: &[u8] = if family == Family::V4 { &ERRORS_V4 } else { &ERRORS_V6 };
    let carrier = message.get(ICMP_HEADER..).filter(|_| errors.contains(&icmp_type))?;
    let (at, _) = tunnel::open(carrier, tunnels, tunnels.opens())?;
    let inner = carrier.get(at..)?;
    let (echo, family) = match inner.first()? >> 4 {
        4 => (quoted_v4(inner)?, Family::V4),
        6 => (quoted_v6(inner)?, Family::V6),
        _ => return None,
    };
    Some((icmp_type, code, quote(echo)?, family))
}

fn quote(echo: &[u8]) -> Option<QuotedMessage> {
    let rest = echo.get(ICMP_HEADER..)?;
    Some(QuotedMessage {
        icmp_type: *echo.first()?,
        id: word(echo, 4)?,
        seq: word(echo, 6)?,
        mark: marked(rest),
        whole: rest.len() >= probe_ebpf::journey::MARK_BYTES,
    })
}

/// Finds the echo message in a quoted IPv4 packet; later fragments have none.
fn quoted_v4(packet: &[u8]) -> Option<&[u8]> {
    let first = word(packet, 6)? & 0x1fff == 0;
    let is_icmp = *packet.get(9)? == ICMP;
    if first && is_icmp { packet.get(ipv4_header_bytes(packet)?..) } else { None }
}

/// Finds the echo message in a quoted IPv6 packet without extension headers, except for that of a first fragment.
fn quoted_v6(packet: &[u8]) -> Option<&[u8]> {
    match *packet.get(6)? {
        ICMPV6 => packet.get(IPV6_HEADER..),
        NEXT_HEADER_FRAGMENT => {
            let fragment = packet.get(IPV6_HEADER..IPV6_HEADER + 8)?;
            let first = word(fragment, 2)? & 0xfff8 == 0;
            if first && fragment[0] == ICMPV6 { packet.get(IPV6_HEADER + 8..) } else { None }
        }
        _ => None,
    }
}

fn ipv4_header_bytes(packet: &[u8]) -> Option<usize> {
    let words = packet.first()? & 0xf;
    (words >= 5).then_some(usize::from(words) * 4)
}

/// Reads the big-endian 16-bit word at `at`.
fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::traffic::{EchoMessage, Frame, prober::payload};

    const NONCE: u64 = 0x0102_0304_0506_0708;

    fn request(family: Family) -> Vec<u8> {
        let bytes = payload(5, NONCE, 56);
        let message = EchoMessage::new(Kind { family, echo: Echo::Request }, 43, 6, &bytes);
        match family {
            Family::V4 => Frame::v4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), &message).ip_bytes(),
            Family::V6 => Frame::v6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, &message).ip_bytes(),
        }
    }

    /// Builds an ICMP error around `quoted`, for IPv4 with its IP header: that of any packet from the router.
    fn error(family: Family, icmp_type: u8, quoted: &[u8]) -> Vec<u8> {
        let message = [&[icmp_type, 0, 0, 0, 0, 0, 0, 0], quoted].concat();
        match family {
            Family::V4 => [&request(Family::V4)[..20], &message].concat(),
            Family::V6 => message,
        }
    }

    fn message(family: Family, bytes: &[u8]) -> Option<IncomingMessage> {
        match family {
            Family::V4 => read_v4(bytes, NONCE).map(|(_, _, message)| message),
            Family::V6 => read_v6(bytes, NONCE),
        }
    }

    #[test]
    fn a_reply_is_known_by_its_mark_and_tells_its_id() {
        let bytes = payload(5, NONCE, 56);
        let reply = EchoMessage::new(Kind { family: Family::V4, echo: Echo::Reply }, 99, 6, &bytes);
        let packet = Frame::v4([10, 0, 0, 2].into(), [10, 0, 0, 1].into(), &reply).ttl(61).ip_bytes();
        let (from, ttl, message) = read_v4(&packet, NONCE).expect("ours");
        assert_eq!((from, ttl), (IpAddr::from([10, 0, 0, 2]), 61));
        assert_eq!(message, IncomingMessage::Reply { probe: 5, id: 99 });
        assert_eq!(read_v4(&packet, NONCE + 1), None);
    }

    #[test]
    fn an_error_with_a_whole_quote_is_known_by_its_mark() {
        for (family, icmp_type) in [(Family::V4, 11), (Family::V6, 3)] {
            let Some(IncomingMessage::Error { quote, .. }) =
                message(family, &error(family, icmp_type, &request(family)))
            else {
                panic!("{family:?}");
            };
            assert_eq!((quote.id, quote.seq, quote.mark), (43, 6, Some((5, NONCE))));
        }
    }

    #[test]
    fn an_error_with_a_short_quote_has_id_and_sequence_number_only() {
        let short = &request(Family::V4)[..28];
        let Some(IncomingMessage::Error { quote, .. }) = message(Family::V4, &error(Family::V4, 3, short)) else {
            panic!("short")
        };
        assert_eq!((quote.id, quote.seq, quote.mark, quote.whole), (43, 6, None, false));
    }

    #[test]
    fn a_later_fragment_and_another_protocol_quote_no_echo() {
        let mut fragment = request(Family::V4);
        fragment[7] = 1;
        assert_eq!(message(Family::V4, &error(Family::V4, 11, &fragment)), None);
        let mut udp = request(Family::V4);
        udp[9] = 17;
        assert_eq!(message(Family::V4, &error(Family::V4, 3, &udp)), None);
    }

    #[test]
    fn a_quoted_ipv6_fragment_is_read_when_it_is_the_first() {
        let whole = request(Family::V6);
        let mut fragment = whole[..IPV6_HEADER].to_vec();
        fragment[6] = NEXT_HEADER_FRAGMENT;
        fragment.extend([ICMPV6, 0, 0, 1, 0, 0, 0, 9]);
        fragment.extend(&whole[IPV6_HEADER..]);
        assert!(message(Family::V6, &error(Family::V6, 2, &fragment)).is_some());
        fragment[IPV6_HEADER + 3] = 9;
        assert_eq!(message(Family::V6, &error(Family::V6, 2, &fragment)), None);
    }

    proptest! {
        #[test]
        fn garbage_and_every_truncation_say_nothing_and_do_not_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..100_usize,
        ) {
            let _ = (read_v4(&bytes, NONCE), read_v6(&bytes, NONCE));
            for family in [Family::V4, Family::V6] {
                let whole = error(family, 3, &request(family));
                let _ = message(family, &whole[..cut.min(whole.len())]);
            }
        }
    }
}
