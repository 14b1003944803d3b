//! Opens one layer of a tunnel: from the IP header of a packet that carries another one to the IP header inside.

use super::{
    Bytes, EchoPacket, FRAGMENT, IPV4, IPV4_HEADER, IPV6, IPV6_HEADER, LinkLayer, View, be32, be64, echo_at,
    ethernet_at, header::ICMP_HEADER, network_at, raw_ip_at,
};
use crate::contract::{
    Family, Skip,
    follow::mixed,
    neighbour::ARP,
    tunnel::{FORMAT_SHIFT, FOU, GENEVE, GRE, IPIP, PROTOCOL_SHIFT, SEALED, SIT, Tunnels, VXLAN, VXLAN_GPE},
};

/// IP protocol numbers.
const PROTOCOL_IPIP: u8 = 4;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_IPV6: u8 = 41;
const PROTOCOL_GRE: u8 = 47;
/// IPv6 extension headers that tunnels write: `ip6_tunnel` says with destination options how deep it may be nested.
const DESTINATION_OPTIONS: u8 = 60;

/// Bytes of a UDP header, and of the headers of VXLAN and Geneve without options.
const UDP_HEADER: usize = 8;
const VXLAN_HEADER: usize = 8;

/// The `EtherType` of Ethernet inside Geneve and GRE, and of ERSPAN.
const BRIDGED: u16 = 0x6558;
const ERSPAN: u16 = 0x88be;

/// Reports whether packets of this IP protocol can be those of a tunnel.
#[inline(always)]
pub const fn can_carry(protocol: u8) -> bool {
    matches!(protocol, PROTOCOL_UDP | PROTOCOL_IPIP | PROTOCOL_IPV6 | PROTOCOL_GRE)
}

/// Returns where the packet inside starts, and its `EtherType`, if the packet at the start of `bytes`, from its IP
/// header on, is one of `known` and carries IP, with an Ethernet header before it or without, or ARP. Only `kinds` are
/// opened, as encoded in [`crate::Config::opens`]: the verifier does not follow the others.
#[inline(always)]
pub fn open<B: Bytes + ?Sized>(bytes: &B, known: &Tunnels, kinds: u32) -> Option<(usize, u16)> {
    let (protocol, offset) = outer(bytes)?;
    match protocol {
        PROTOCOL_UDP if kinds >> FORMAT_SHIFT != 0 => {
            let udp = bytes.view::<UDP_HEADER>(offset)?;
            udp_carries(bytes, offset + UDP_HEADER, known.carried_by(udp.be16(2)), kinds >> FORMAT_SHIFT)
        }
        PROTOCOL_GRE if is_asked(kinds, GRE) && known.protocols & GRE != 0 => gre(bytes, offset),
        PROTOCOL_IPIP if is_asked(kinds, IPIP) && known.protocols & IPIP != 0 => ip_at(bytes, offset),
        PROTOCOL_IPV6 if is_asked(kinds, SIT) && known.protocols & SIT != 0 => ip_at(bytes, offset),
        _ => None,
    }
}

/// Parses like [`super::parse_where`] the echo packet one layer inside the packet of a tunnel of `known`; only `kinds` are opened, as encoded in
/// [`crate::Config::opens`].
#[inline(always)]
pub fn parse_inside<B: Bytes + ?Sized>(
    bytes: &B,
    link_layer: LinkLayer,
    (known, kinds): (&Tunnels, u32),
    wanted: impl Fn(Family) -> bool,
) -> Result<EchoPacket, Skip> {
    let (_, offset) = network_at(bytes, link_layer)?;
    let (inside, ether_type) = open(&Behind { bytes, start: offset }, known, kinds).ok_or(Skip::NotEcho)?;
    let echo = echo_at(bytes, ether_type, offset + inside, wanted)?;
    Ok(EchoPacket { is_inner: true, ..echo })
}

/// The bytes from `start` on.
struct Behind<'a, B: ?Sized> {
    bytes: &'a B,
    start: usize,
}

impl<B: Bytes + ?Sized> Bytes for Behind<'_, B> {
    type View<const N: usize> = B::View<N>;

    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<B::View<N>> {
        self.bytes.view(self.start + offset)
    }
}

/// A packet of a program that holds a tun device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedPacket {
    /// A digest of the first bytes of its payload, which no NAT changes: programs begin each packet with a number of its
    /// own.
    pub key: u64,
    /// Bytes of its payload.
    pub bytes: u32,
    /// Whether it comes from a port of such a program; false: it only goes to one.
    pub sent: bool,
}

/// Bytes of the payload that the digest is made of; fewer carry no IP packet.
const DIGESTED: usize = 32;

/// Reports whether it is a message of `WireGuard` that carries no packet: an initiation, a response or a cookie, by type and
/// length of the UDP packet (`drivers/net/wireguard/messages.h`).
#[inline(always)]
fn is_handshake<V: View>(payload: &V, udp_bytes: u16) -> bool {
    let kind = (payload.be16(0), payload.be16(2));
    matches!((kind, udp_bytes), ((0x0100, 0), 156) | ((0x0200, 0), 100) | ((0x0300, 0), 72))
}

/// Returns the packet of a program whose IP header is at the start of `bytes`, if it is UDP from or to one of the
/// programs' ports.
#[inline(always)]
pub fn sealed<B: Bytes + ?Sized>(bytes: &B, known: &Tunnels) -> Option<SealedPacket> {
    let (protocol, offset) = outer(bytes)?;
    if protocol != PROTOCOL_UDP {
        return None;
    }
    let udp = bytes.view::<UDP_HEADER>(offset)?;
    let sent = known.carried_by(udp.be16(0)) == SEALED;
    if !sent && known.carried_by(udp.be16(2)) != SEALED {
        return None;
    }
    let length = udp.be16(4);
    let payload = bytes.view::<DIGESTED>(offset + UDP_HEADER)?;
    if is_handshake(&payload, length) {
        return None;
    }
    let mut key = mixed(u64::from(length));
    for at in 0..DIGESTED / 8 {
        key = mixed(key ^ be64(&payload, at * 8));
    }
    Some(SealedPacket { key, bytes: u32::from(length).saturating_sub(UDP_HEADER as u32), sent })
}

/// The IP header of a packet, whatever it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterHeader {
    /// TTL or hop limit.
    pub ttl: u8,
    /// Source address in wire order, IPv4 as `::ffff:a.b.c.d`: two numbers in the order of its bytes.
    pub source: [u64; 2],
    /// Destination address, in the same form.
    pub destination: [u64; 2],
}

/// Returns the IP header at the start of `bytes`.
#[inline(always)]
pub fn outer_header<B: Bytes + ?Sized>(bytes: &B) -> Option<OuterHeader> {
    let begin = bytes.view::<IPV4_HEADER>(0)?;
    if begin.byte(0) >> 4 == 4 {
        let mapped = |at| [0, (0xffff << 32 | u64::from(be32(&begin, at))).to_be()];
        return Some(OuterHeader { ttl: begin.byte(8), source: mapped(12), destination: mapped(16) });
    }
    let header = bytes.view::<IPV6_HEADER>(0)?;
    let words = |at| [be64(&header, at).to_be(), be64(&header, at + 8).to_be()];
    Some(OuterHeader { ttl: header.byte(7), source: words(8), destination: words(24) })
}

/// Returns the protocol that an IP packet carries, and where that starts; none for a fragment that is not the first.
#[inline(always)]
fn outer<B: Bytes + ?Sized>(bytes: &B) -> Option<(u8, usize)> {
    let begin = bytes.view::<IPV4_HEADER>(0)?;
    match begin.byte(0) >> 4 {
        4 => {
            let header_bytes = usize::from(begin.byte(0) & 0x0f) * 4;
            let first = begin.be16(6) & 0x1fff == 0;
            (first && header_bytes >= IPV4_HEADER).then_some((begin.byte(9), header_bytes))
        }
        6 => {
            let (mut next, mut offset) = (begin.byte(6), IPV6_HEADER);
            for _ in 0..2 {
                match next {
                    DESTINATION_OPTIONS => {
                        let header = bytes.view::<2>(offset)?;
                        next = header.byte(0);
                        offset += (usize::from(header.byte(1)) + 1) * 8;
                    }
                    FRAGMENT => {
                        let header = bytes.view::<8>(offset)?;
                        if header.be16(2) & 0xfff8 != 0 {
                            return None;
                        }
                        next = header.byte(0);
                        offset += 8;
                    }
                    _ => break,
                }
            }
            Some((next, offset))
        }
        _ => None,
    }
}

#[inline(always)]
const fn is_asked(kinds: u32, protocol: u32) -> bool {
    kinds & (protocol << PROTOCOL_SHIFT) != 0
}

#[inline(always)]
fn udp_carries<B: Bytes + ?Sized>(bytes: &B, offset: usize, format: u16, formats: u32) -> Option<(usize, u16)> {
    let asked = |wanted: u16| formats & (1 << wanted) != 0;
    if asked(FOU) && format == FOU {
        return ip_at(bytes, offset);
    }
    if !matches!(format, VXLAN | VXLAN_GPE | GENEVE) {
        return None;
    }
    let header = bytes.view::<VXLAN_HEADER>(offset)?;
    let inside = offset + VXLAN_HEADER;
    match (format, header.byte(0)) {
        // Flag I: there is a VNI.
        (VXLAN, flags) if asked(VXLAN) && flags & 0x08 != 0 => network_of(bytes, inside, LinkLayer::Ethernet),
        // Flag P: the next protocol is given.
        (VXLAN_GPE, flags) if asked(VXLAN_GPE) && flags & 0x0c == 0x0c => match header.byte(3) {
            1 | 2 => ip_at(bytes, inside),
            3 => network_of(bytes, inside, LinkLayer::Ethernet),
            _ => None,
        },
        (GENEVE, first) if asked(GENEVE) && first >> 6 == 0 => {
            by_ether_type(bytes, inside + usize::from(first & 0x3f) * 4, header.be16(2))
        }
        _ => None,
    }
}

#[inline(always)]
fn gre<B: Bytes + ?Sized>(bytes: &B, offset: usize) -> Option<(usize, u16)> {
    let header = bytes.view::<4>(offset)?;
    let (flags, protocol) = (header.be16(0), header.be16(2));
    // Version 0 without source routes (RFC 2784 §2.2).
    if flags & 0x4007 != 0 {
        return None;
    }
    // Checksum, key and sequence number have four bytes each.
    let options = usize::from(flags >> 15) + usize::from(flags >> 13 & 1) + usize::from(flags >> 12 & 1);
    let inside = offset + 4 + options * 4;
    match protocol {
        // Type II, whose header of eight bytes goes with a sequence number.
        ERSPAN if flags & 0x1000 != 0 => network_of(bytes, inside + ICMP_HEADER, LinkLayer::Ethernet),
        ERSPAN => network_of(bytes, inside, LinkLayer::Ethernet),
        protocol => by_ether_type(bytes, inside, protocol),
    }
}

#[inline(always)]
fn by_ether_type<B: Bytes + ?Sized>(bytes: &B, offset: usize, ether_type: u16) -> Option<(usize, u16)> {
    match ether_type {
        BRIDGED => network_of(bytes, offset, LinkLayer::Ethernet),
        IPV4 | IPV6 => ip_at(bytes, offset),
        _ => None,
    }
}

#[inline(always)]
fn ip_at<B: Bytes + ?Sized>(bytes: &B, offset: usize) -> Option<(usize, u16)> {
    network_of(bytes, offset, LinkLayer::RawIp)
}

/// Returns where the network header of the packet at `offset` starts, and its `EtherType`.
#[inline(always)]
fn network_of<B: Bytes + ?Sized>(bytes: &B, offset: usize, link_layer: LinkLayer) -> Option<(usize, u16)> {
    let found = match link_layer {
        LinkLayer::Ethernet => ethernet_at(bytes, offset),
        LinkLayer::RawIp => raw_ip_at(bytes, offset),
    };
    match found {
        Ok((ether_type @ (IPV4 | IPV6 | ARP), network)) => Some((network, ether_type)),
        _ => None,
    }
}
