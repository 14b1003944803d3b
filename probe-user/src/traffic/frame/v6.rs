//! The IPv6 header and its extension headers around an echo message (RFC 8200 §3, §4).

use std::net::Ipv6Addr;

use probe_ebpf::packet::{ICMPV6, IPV6, IPV6_HEADER};

use super::{Common, Frame, Layout, Network, Rest, from_offset, length_field};

/// Next-header numbers (RFC 8200 §4.1).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

/// The option that pads by one byte, and the one that pads by more (RFC 8200 §4.2).
const PAD1: u8 = 0;
const PADN: u8 = 1;

/// What only an IPv6 packet has.
#[derive(Clone, Debug)]
pub struct V6 {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    extensions: Vec<Extension>,
    offset: u16,
}

/// An extension header: its number, and its bytes after the one that names the next header.
#[derive(Clone, Debug)]
struct Extension {
    number: u8,
    after_next_header: Vec<u8>,
}

impl V6 {
    pub(super) fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self { source, destination, extensions: Vec::new(), offset: 0 }
    }
}

impl Network for V6 {
    const ETHERTYPE: u16 = IPV6;

    fn header_bytes(&self) -> usize {
        IPV6_HEADER + self.extensions.iter().map(|extension| 1 + extension.after_next_header.len()).sum::<usize>()
    }
}

impl Layout for V6 {
    fn write(&self, common: &Common, out: &mut Vec<u8>) {
        let payload = from_offset(&common.message, self.offset);
        let last = common.protocol.unwrap_or(ICMPV6);
        let next = |index: usize| self.extensions.get(index).map_or(last, |extension| extension.number);
        out.extend([0x60 | common.dscp >> 2, common.dscp << 6, 0, 0]);
        out.extend(length_field(self.header_bytes() - IPV6_HEADER + payload.len()));
        out.extend([next(0), common.ttl]);
        out.extend(self.source.octets());
        out.extend(self.destination.octets());
        for (index, extension) in self.extensions.iter().enumerate() {
            out.push(next(index + 1));
            out.extend(&extension.after_next_header);
        }
        out.extend(payload);
    }
}

impl Frame<V6> {
    /// Adds an extension header of hop-by-hop options, padded to a multiple of eight bytes.
    #[must_use]
    pub fn hop_by_hop(self, options: &[u8]) -> Self {
        self.options_header(HOP_BY_HOP, options)
    }

    /// Adds an extension header of destination options, padded to a multiple of eight bytes.
    #[must_use]
    pub fn destination(self, options: &[u8]) -> Self {
        self.options_header(DESTINATION, options)
    }

    /// Adds a routing header with its type, the segments left, and its data, which is padded with zeros to a multiple of
    /// eight bytes. The checksum stays that of the destination given first.
    #[must_use]
    pub fn routing(self, routing_type: u8, segments_left: u8, data: &[u8]) -> Self {
        let mut body = vec![routing_type, segments_left];
        body.extend(data);
        body.resize((body.len() + 2).next_multiple_of(8) - 2, 0);
        self.sized_header(ROUTING, &body)
    }

    /// Adds a fragment header: the packet carries the message from byte `offset` on, a multiple of 8.
    ///
    /// # Panics
    /// On an offset that is no multiple of 8: no fragment header can express it.
    #[must_use]
    pub fn fragment(mut self, offset: u16, rest: Rest, identification: u32) -> Self {
        assert!(offset.is_multiple_of(8), "fragments start at multiples of 8, not at {offset}");
        let more = u16::from(rest == Rest::Follows);
        let mut body = vec![0];
        body.extend((offset | more).to_be_bytes());
        body.extend(identification.to_be_bytes());
        self.network.offset = offset;
        self.network.extensions.push(Extension { number: FRAGMENT, after_next_header: body });
        self
    }

    fn options_header(self, number: u8, options: &[u8]) -> Self {
        let mut body = options.to_vec();
        match (options.len() + 2).next_multiple_of(8) - 2 - options.len() {
            0 => {}
            1 => body.push(PAD1),
            pad => {
                body.extend([PADN, u8::try_from(pad - 2).expect("padding is at most 7 bytes")]);
                body.resize(options.len() + pad, 0);
            }
        }
        self.sized_header(number, &body)
    }

    /// Adds an extension header; `body` and the two bytes before it fill a multiple of eight bytes.
    fn sized_header(mut self, number: u8, body: &[u8]) -> Self {
        let eights = (body.len() + 2) / 8 - 1;
        let length = u8::try_from(eights).expect("an extension header of 2048 bytes at most");
        let mut after_next_header = vec![length];
        after_next_header.extend(body);
        self.network.extensions.push(Extension { number, after_next_header });
        self
    }
}

#[cfg(test)]
mod tests {
    use probe_ebpf::{Echo, Family, Kind};
    use proptest::prelude::*;

    use super::*;
    use crate::traffic::{checksum::checksum_v6, packet::EchoMessage};

    const FROM: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    const TO: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

    fn around(payload: &[u8]) -> Frame<V6> {
        let kind = Kind { family: Family::V6, echo: Echo::Request };
        Frame::v6(FROM, TO, &EchoMessage::new(kind, 0x1234, 9, payload))
    }

    #[test]
    fn the_header_is_the_one_of_rfc_8200() {
        let bytes = around(b"ab").dscp(46).ttl(3).ip_bytes();
        assert_eq!(bytes[..8], [0x6b, 0x80, 0, 0, 0, 10, 58, 3]);
        assert_eq!((bytes[40], bytes.len()), (128, 50));
    }

    #[test]
    fn extension_headers_name_each_other_in_the_order_of_the_calls() {
        let frame = around(b"").hop_by_hop(&[]).routing(4, 0, &[0; 20]).destination(&[9; 6]);
        let bytes = frame.fragment(0, Rest::Follows, 0xdead_beef).ip_bytes();
        assert_eq!(bytes[6], HOP_BY_HOP);
        assert_eq!(bytes[40..48], [ROUTING, 0, PADN, 4, 0, 0, 0, 0]);
        assert_eq!(bytes[48..52], [DESTINATION, 2, 4, 0]);
        assert_eq!(bytes[72..80], [FRAGMENT, 0, 9, 9, 9, 9, 9, 9]);
        assert_eq!(bytes[80..88], [58, 0, 0, 1, 0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(bytes[88], 128);
    }

    #[test]
    fn one_byte_is_padded_by_pad1_and_more_by_padn() {
        assert_eq!(around(b"").destination(&[9; 5]).ip_bytes()[42..48], [9, 9, 9, 9, 9, PAD1]);
        assert_eq!(around(b"").destination(&[9; 4]).ip_bytes()[42..48], [9, 9, 9, 9, PADN, 0]);
    }

    #[test]
    fn a_later_fragment_carries_the_rest_of_the_message() {
        let bytes = around(&[7; 24]).fragment(16, Rest::Last, 1).ip_bytes();
        assert_eq!(bytes[40..44], [58, 0, 0, 16]);
        assert_eq!(bytes[48..], [7; 16]);
    }

    proptest! {
        #[test]
        fn lengths_are_true_and_the_message_is_where_the_frame_says(
            hops in prop::collection::vec(any::<u8>(), 0..100), ends in prop::collection::vec(any::<u8>(), 0..100),
            route in prop::collection::vec(any::<u8>(), 0..100), payload in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let frame = around(&payload).hop_by_hop(&hops).routing(0, 0, &route).destination(&ends);
            let bytes = frame.ip_bytes();
            prop_assert_eq!(usize::from(u16::from_be_bytes([bytes[4], bytes[5]])), bytes.len() - 40);
            let mut at = 40;
            for _ in 0..3 {
                at += (usize::from(bytes[at + 1]) + 1) * 8;
            }
            prop_assert_eq!(at, frame.message_at() - frame.network_at());
            prop_assert_eq!(checksum_v6(FROM, TO, &bytes[at..]), 0);
        }
    }
}
