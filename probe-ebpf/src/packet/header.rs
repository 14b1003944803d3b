//! The lengths of an echo packet's headers, and the numbers by which one names the next, for both halves.

/// Bytes of an Ethernet header without VLAN tags (IEEE 802.3).
pub const ETHERNET_HEADER: usize = 14;
/// Bytes of a VLAN tag (IEEE 802.1Q).
pub const VLAN_TAG: usize = 4;
/// Bytes of an IPv4 header without options (RFC 791).
pub const IPV4_HEADER: usize = 20;
/// Bytes of an IPv6 header without extension headers (RFC 8200).
pub const IPV6_HEADER: usize = 40;
/// Bytes of the header of an ICMP or `ICMPv6` message: of an echo before its payload, of an error before its quote.
pub const ICMP_HEADER: usize = 8;

/// The `EtherType` of IPv4.
pub const IPV4: u16 = 0x0800;
/// The `EtherType` of IPv6.
pub const IPV6: u16 = 0x86dd;
/// The `EtherType` of a customer VLAN tag (802.1Q).
pub const VLAN: u16 = 0x8100;
/// The `EtherType` of a service VLAN tag, the outer one of two (802.1ad).
pub const QINQ: u16 = 0x88a8;

/// The IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// The IP protocol number, in IPv6 the next-header number, of `ICMPv6`.
pub const ICMPV6: u8 = 58;
