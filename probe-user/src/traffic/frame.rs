//! Whole packets around an echo message, as bytes for tests and benches: Ethernet, VLAN tags, IP with everything that
//! may stand between its header and the message.

pub mod v4;
pub mod v6;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use v4::V4;
pub use v6::V6;

use probe_ebpf::packet::{ETHERNET_HEADER, QINQ, VLAN, VLAN_TAG};

use super::packet::EchoMessage;

/// Tag protocol of a customer VLAN (IEEE 802.1Q).
pub const CUSTOMER_TAG: u16 = VLAN;

/// Tag protocol of a service VLAN, the outer one of two (IEEE 802.1ad).
pub const SERVICE_TAG: u16 = QINQ;

/// Locally administered addresses, so that a frame that escapes a test belongs to nobody.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]];

/// A packet to build. `N` is its IP version, [`V4`] or [`V6`], and holds what only that version has.
#[derive(Clone, Debug)]
pub struct Frame<N> {
    macs: [[u8; 6]; 2],
    tags: Vec<(u16, u16)>,
    ethertype: Option<u16>,
    common: Common,
    network: N,
}

/// The fields that both IP versions have.
#[derive(Clone, Debug)]
struct Common {
    ttl: u8,
    dscp: u8,
    protocol: Option<u8>,
    message: Vec<u8>,
}

/// Whether more fragments of the same packet follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// More fragments follow.
    Follows,
    /// This is the last.
    Last,
}

/// An IP version: the layout of its header and of what follows it.
pub trait Network {
    /// The Ethernet type of this IP version.
    const ETHERTYPE: u16;

    /// Returns where the echo message starts, in bytes from the start of the IP header.
    fn header_bytes(&self) -> usize;
}

/// Lays out the IP packet; only this module's IP versions can.
trait Layout: Network {
    fn write(&self, common: &Common, out: &mut Vec<u8>);
}

impl Frame<V4> {
    /// Builds an IPv4 packet that holds `message` with the checksum of ICMP, TTL 64, no options, in an untagged Ethernet
    /// frame.
    pub fn v4(source: Ipv4Addr, destination: Ipv4Addr, message: &EchoMessage<'_>) -> Self {
        Self::around(V4::new(source, destination), message.bytes_v4())
    }
}

impl Frame<V6> {
    /// Builds an IPv6 packet that holds `message` with the checksum of `ICMPv6`, hop limit 64, no extension headers, in an
    /// untagged Ethernet frame.
    pub fn v6(source: Ipv6Addr, destination: Ipv6Addr, message: &EchoMessage<'_>) -> Self {
        Self::around(V6::new(source, destination), message.bytes_v6(source, destination))
    }
}

#[expect(private_bounds, reason = "only the IP versions of this module can be laid out")]
impl<N: Layout> Frame<N> {
    fn around(network: N, message: Vec<u8>) -> Self {
        let common = Common { ttl: 64, dscp: 0, protocol: None, message };
        Self { macs: MACS, tags: Vec::new(), ethertype: None, common, network }
    }

    /// Sets another destination and source than the locally administered defaults.
    #[must_use]
    pub fn macs(mut self, destination: [u8; 6], source: [u8; 6]) -> Self {
        self.macs = [destination, source];
        self
    }

    /// Adds a VLAN tag inside those added before: its protocol ([`CUSTOMER_TAG`], [`SERVICE_TAG`]) and its tag control
    /// information, whose low 12 bits are the VLAN's number.
    #[must_use]
    pub fn vlan(mut self, protocol: u16, control: u16) -> Self {
        self.tags.push((protocol, control));
        self
    }

    /// Sets the Ethernet type, whatever the packet is.
    #[must_use]
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = Some(ethertype);
        self
    }

    /// Sets the protocol (IPv4) or last next header (IPv6), whatever the message is.
    #[must_use]
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.common.protocol = Some(protocol);
        self
    }

    /// Sets the TTL or hop limit.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.common.ttl = ttl;
        self
    }

    /// Sets the DSCP value, 0 to 63 (RFC 2474); the ECN bits stay zero.
    #[must_use]
    pub fn dscp(mut self, dscp: u8) -> Self {
        self.common.dscp = dscp & 0x3f;
        self
    }

    /// Returns where the IP header starts in [`Frame::bytes`].
    pub fn network_at(&self) -> usize {
        ETHERNET_HEADER + VLAN_TAG * self.tags.len()
    }

    /// Returns where the echo message starts in [`Frame::bytes`].
    pub fn message_at(&self) -> usize {
        self.network_at() + self.network.header_bytes()
    }

    /// Returns the packet from its IP header on, as devices without an Ethernet header carry it.
    pub fn ip_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.network.write(&self.common, &mut out);
        out
    }

    /// Returns the frame from its Ethernet header on, without padding to 60 bytes and without a check sequence.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = self.macs.concat();
        for (protocol, control) in &self.tags {
            out.extend(protocol.to_be_bytes());
            out.extend(control.to_be_bytes());
        }
        out.extend(self.ethertype.unwrap_or(N::ETHERTYPE).to_be_bytes());
        self.network.write(&self.common, &mut out);
        out
    }
}

/// Encodes a length as a 16-bit header field; one longer than IP allows becomes the largest that fits.
fn length_field(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
}

/// Returns the part of a packet's payload that a fragment carries: from `offset` on.
fn from_offset(message: &[u8], offset: u16) -> &[u8] {
    message.get(usize::from(offset)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use probe_ebpf::{Echo, Family, Kind};

    use super::*;

    fn ping() -> Frame<V4> {
        let kind = Kind { family: Family::V4, echo: Echo::Request };
        Frame::v4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), &EchoMessage::new(kind, 43, 1, b"payload"))
    }

    #[test]
    fn an_untagged_frame_has_the_type_after_the_addresses() {
        let bytes = ping().bytes();
        assert_eq!(bytes[12..14], [0x08, 0x00]);
        assert_eq!(bytes[ETHERNET_HEADER..], ping().ip_bytes());
    }

    #[test]
    fn tags_stand_outermost_first_and_the_type_after_them() {
        let frame = ping().vlan(SERVICE_TAG, 100).vlan(CUSTOMER_TAG, 0x2007);
        let bytes = frame.bytes();
        assert_eq!(bytes[12..22], [0x88, 0xa8, 0, 100, 0x81, 0x00, 0x20, 0x07, 0x08, 0x00]);
        assert_eq!(bytes[frame.network_at()..], ping().ip_bytes());
    }

    #[test]
    fn the_message_is_where_the_frame_says() {
        let frame = ping().vlan(CUSTOMER_TAG, 7).options(&[1, 1, 1]);
        assert_eq!(frame.bytes()[frame.message_at()], 8);
        assert_eq!(frame.bytes()[frame.message_at() + 8..], *b"payload");
    }

    #[test]
    fn types_can_be_false() {
        let bytes = ping().ethertype(0x0806).protocol(17).macs([9; 6], [8; 6]).bytes();
        assert_eq!(bytes[..14], [9, 9, 9, 9, 9, 9, 8, 8, 8, 8, 8, 8, 0x08, 0x06]);
        assert_eq!(bytes[ETHERNET_HEADER + 9], 17);
    }
}
