//! ICMP and `ICMPv6` echo messages as bytes (RFC 792 p. 14, RFC 4443 §4).

use std::net::Ipv6Addr;

use probe_ebpf::{Kind, packet::ICMP_HEADER};

use super::checksum::{checksum, checksum_v6};

/// The most payload that one IPv4 packet without options can carry: 65535 - 20 - 8.
pub const MAX_PAYLOAD_V4: usize = 65_507;

/// The most payload that one IPv6 packet can carry: 65535 - 8.
pub const MAX_PAYLOAD_V6: usize = 65_527;

/// Where the checksum is, in bytes from the start of the message.
const CHECKSUM_AT: std::ops::Range<usize> = 2..4;

/// An echo message with every field chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoMessage<'a> {
    /// IP version, and request or reply: the type on the wire.
    pub kind: Kind,
    /// The ICMP code; the standards define only 0.
    pub code: u8,
    /// Echo id, in host byte order.
    pub id: u16,
    /// Echo sequence number, in host byte order.
    pub seq: u16,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> EchoMessage<'a> {
    /// Returns a message with code 0.
    pub fn new(kind: Kind, id: u16, seq: u16, payload: &'a [u8]) -> Self {
        Self { kind, code: 0, id, seq, payload }
    }

    /// Returns the same message with another code.
    #[must_use]
    pub fn code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Writes the message with a zero checksum field into `out`, replacing its content: for sockets whose kernel fills the
    /// checksum in (ping sockets, raw `ICMPv6` sockets).
    pub fn write_unsealed(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend([self.kind.icmp_type(), self.code, 0, 0]);
        out.extend(self.id.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.payload);
    }

    /// Writes the message with the checksum of ICMP, which covers no addresses, into `out`, replacing its content.
    pub fn write_v4(&self, out: &mut Vec<u8>) {
        self.write_unsealed(out);
        let sum = checksum(out);
        out[CHECKSUM_AT].copy_from_slice(&sum.to_be_bytes());
    }

    /// Returns the message with the checksum of ICMP, which covers no addresses.
    pub fn bytes_v4(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ICMP_HEADER + self.payload.len());
        self.write_v4(&mut out);
        out
    }

    /// Returns the message with the checksum of `ICMPv6`, which covers both addresses.
    pub fn bytes_v6(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
        let mut out = Vec::with_capacity(ICMP_HEADER + self.payload.len());
        self.write_unsealed(&mut out);
        let sum = checksum_v6(source, destination, &out);
        out[CHECKSUM_AT].copy_from_slice(&sum.to_be_bytes());
        out
    }
}

/// Returns `size` payload bytes that count up from 0 and start again after 255: what was cut off or shifted shows in a
/// capture.
pub fn counting_payload(size: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(size).collect()
}

#[cfg(test)]
mod tests {
    use probe_ebpf::{Echo, Family};
    use proptest::prelude::*;

    use super::*;

    const PING: Kind = Kind { family: Family::V4, echo: Echo::Request };
    const PONG6: Kind = Kind { family: Family::V6, echo: Echo::Reply };

    #[test]
    fn the_fields_are_where_rfc_792_puts_them() {
        let bytes = EchoMessage::new(PING, 0x1234, 0x0001, b"ab").code(7).bytes_v4();
        assert_eq!(bytes[..2], [8, 7]);
        assert_eq!(bytes[4..], [0x12, 0x34, 0x00, 0x01, b'a', b'b']);
    }

    #[test]
    fn an_ipv6_reply_has_type_129() {
        let bytes = EchoMessage::new(PONG6, 1, 2, &[]).bytes_v6(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        assert_eq!((bytes[0], bytes.len()), (129, ICMP_HEADER));
    }

    #[test]
    fn a_written_buffer_holds_nothing_of_before() {
        let mut out = vec![0xaa; 100];
        EchoMessage::new(PING, 1, 2, b"x").write_v4(&mut out);
        assert_eq!(out, EchoMessage::new(PING, 1, 2, b"x").bytes_v4());
    }

    #[test]
    fn the_payload_counts() {
        assert_eq!(counting_payload(3), [0, 1, 2]);
        assert_eq!(counting_payload(258)[254..], [254, 255, 0, 1]);
        assert!(counting_payload(0).is_empty());
    }

    fn flipped(bytes: &[u8], bit: prop::sample::Index) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    }

    proptest! {
        #[test]
        fn a_built_message_is_good_and_one_flipped_bit_is_bad(
            kind in prop::sample::select(&Kind::ALL[..]), code: u8, id: u16, seq: u16,
            payload in prop::collection::vec(any::<u8>(), 0..300), bit: prop::sample::Index,
        ) {
            let bytes = EchoMessage::new(kind, id, seq, &payload).code(code).bytes_v4();
            prop_assert_eq!(checksum(&bytes), 0);
            prop_assert_ne!(checksum(&flipped(&bytes, bit)), 0);
        }

        #[test]
        fn the_same_holds_with_the_pseudo_header(
            source: u128, destination: u128, id: u16, seq: u16,
            payload in prop::collection::vec(any::<u8>(), 0..300), bit: prop::sample::Index, address_bit in 0..128,
        ) {
            let (source, destination) = (Ipv6Addr::from(source), Ipv6Addr::from(destination));
            let bytes = EchoMessage::new(PONG6, id, seq, &payload).bytes_v6(source, destination);
            prop_assert_eq!(checksum_v6(source, destination, &bytes), 0);
            prop_assert_ne!(checksum_v6(source, destination, &flipped(&bytes, bit)), 0);
            let elsewhere = Ipv6Addr::from(u128::from(destination) ^ (1_u128 << address_bit));
            prop_assert_ne!(checksum_v6(source, elsewhere, &bytes), 0);
        }
    }
}
