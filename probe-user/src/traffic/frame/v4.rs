//! The IPv4 header around an echo message (RFC 791 §3.1).

use std::net::Ipv4Addr;

use probe_ebpf::packet::{ICMP, IPV4, IPV4_HEADER};

use super::{Common, Frame, Layout, Network, Rest, from_offset, length_field};
use crate::traffic::checksum::checksum;

/// The most option bytes that the header length can express.
const MAX_OPTION_BYTES: usize = 40;

/// "Don't fragment", in the word of flags and offset.
const DONT_FRAGMENT: u16 = 0x4000;

/// "More fragments", in the word of flags and offset.
const MORE_FRAGMENTS: u16 = 0x2000;

/// What only an IPv4 packet has.
#[derive(Clone, Debug)]
pub struct V4 {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    options: Vec<u8>,
    identification: u16,
    flags: u16,
    offset: u16,
}

impl V4 {
    pub(super) fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self { source, destination, options: Vec::new(), identification: 0, flags: 0, offset: 0 }
    }
}

impl Network for V4 {
    const ETHERTYPE: u16 = IPV4;

    fn header_bytes(&self) -> usize {
        IPV4_HEADER + self.options.len()
    }
}

impl Layout for V4 {
    fn write(&self, common: &Common, out: &mut Vec<u8>) {
        let payload = from_offset(&common.message, self.offset);
        let start = out.len();
        let words = u8::try_from(self.header_bytes() / 4).expect("options are at most 40 bytes");
        out.extend([0x40 | words, common.dscp << 2]);
        out.extend(length_field(self.header_bytes() + payload.len()));
        out.extend(self.identification.to_be_bytes());
        out.extend((self.flags | (self.offset / 8)).to_be_bytes());
        out.extend([common.ttl, common.protocol.unwrap_or(ICMP), 0, 0]);
        out.extend(self.source.octets());
        out.extend(self.destination.octets());
        out.extend(&self.options);
        let sum = checksum(&out[start..]);
        out[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
        out.extend(payload);
    }
}

impl Frame<V4> {
    /// Adds IP options, padded with "end of options" to a multiple of four bytes; 40 bytes at most.
    ///
    /// # Panics
    /// On more than 40 bytes: no IPv4 header can hold them.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        assert!(options.len() <= MAX_OPTION_BYTES, "{} option bytes, but IPv4 holds 40", options.len());
        self.network.options = options.to_vec();
        self.network.options.resize(options.len().next_multiple_of(4), 0);
        self
    }

    /// Sets the identification that fragments of one packet share.
    #[must_use]
    pub fn identification(mut self, identification: u16) -> Self {
        self.network.identification = identification;
        self
    }

    /// Sets the "don't fragment" bit.
    #[must_use]
    pub fn df(mut self) -> Self {
        self.network.flags |= DONT_FRAGMENT;
        self
    }

    /// Makes it the fragment that starts at byte `offset` of the message, a multiple of 8, and carries the message from
    /// there on.
    ///
    /// # Panics
    /// On an offset that is no multiple of 8: no IP header can express it.
    #[must_use]
    pub fn fragment(mut self, offset: u16, rest: Rest) -> Self {
        assert!(offset.is_multiple_of(8), "fragments start at multiples of 8, not at {offset}");
        self.network.offset = offset;
        self.network.flags = match rest {
            Rest::Follows => self.network.flags | MORE_FRAGMENTS,
            Rest::Last => self.network.flags & !MORE_FRAGMENTS,
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use probe_ebpf::{Echo, Family, Kind};
    use proptest::prelude::*;

    use super::*;
    use crate::traffic::packet::EchoMessage;

    fn around(payload: &[u8]) -> Frame<V4> {
        let kind = Kind { family: Family::V4, echo: Echo::Reply };
        Frame::v4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), &EchoMessage::new(kind, 0x1234, 9, payload))
    }

    #[test]
    fn the_header_is_the_one_of_rfc_791() {
        let bytes = around(b"ab").dscp(46).ttl(3).identification(0xbeef).df().ip_bytes();
        assert_eq!(bytes[..10], [0x45, 46 << 2, 0, 30, 0xbe, 0xef, 0x40, 0x00, 3, 1]);
        assert_eq!(bytes[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!(bytes.len(), 30);
    }

    #[test]
    fn options_are_padded_to_whole_words() {
        let bytes = around(b"").options(&[7, 3, 4, 1, 1]).ip_bytes();
        assert_eq!((bytes[0], bytes.len()), (0x47, 36));
        assert_eq!(bytes[20..28], [7, 3, 4, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn a_later_fragment_carries_the_rest_of_the_message() {
        let first = around(&[7; 24]).fragment(0, Rest::Follows).ip_bytes();
        assert_eq!((first[6..8].to_vec(), first.len()), (vec![0x20, 0], 52));
        let later = around(&[7; 24]).fragment(16, Rest::Last).ip_bytes();
        assert_eq!((later[6..8].to_vec(), later.len()), (vec![0, 2], 36));
        assert_eq!(around(b"").fragment(800, Rest::Last).ip_bytes().len(), 20);
    }

    proptest! {
        #[test]
        fn header_and_message_have_good_checksums_and_true_lengths(
            payload in prop::collection::vec(any::<u8>(), 0..1500), options in prop::collection::vec(any::<u8>(), 0..=40),
            ttl: u8, dscp in 0..64_u8, identification: u16,
        ) {
            let frame = around(&payload).options(&options).ttl(ttl).dscp(dscp).identification(identification);
            let bytes = frame.ip_bytes();
            let header = usize::from(bytes[0] & 15) * 4;
            prop_assert_eq!(header, 20 + options.len().next_multiple_of(4));
            prop_assert_eq!(usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), bytes.len());
            prop_assert_eq!(checksum(&bytes[..header]), 0);
            prop_assert_eq!(checksum(&bytes[header..]), 0);
            prop_assert_eq!(&bytes[header + 8..], &payload[..]);
        }
    }
}
