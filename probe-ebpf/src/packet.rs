//! The one packet parser: Ethernet and VLAN tags → IPv4 or IPv6 → ICMP echo, on plain bytes.
//!
//! It never trusts a length, never loops without a bound, and returns a [`Skip`] for what it could not read. The kernel
//! programs run it on packet memory, the tests and `probe receive` on slices.

pub mod checksum;
mod header;
pub mod tunnel;

pub use header::{
    ETHERNET_HEADER, ICMP, ICMP_HEADER, ICMPV6, IPV4, IPV4_HEADER, IPV6, IPV6_HEADER, QINQ, VLAN, VLAN_TAG,
};

use crate::contract::{Family, Kind, Skip};

/// Bytes of which sections can be viewed, if they are there.
pub trait Bytes {
    /// `N` bytes that are there.
    type View<const N: usize>: View;

    /// Returns the `N` bytes from `offset` on, if all of them are there. Offsets of headers are even.
    fn view<const N: usize>(&self, offset: usize) -> Option<Self::View<N>>;
}

/// `N` bytes that are there: reads at constant offsets below `N`, which therefore need no check.
pub trait View {
    /// Returns the byte at `at`.
    fn byte(&self, at: usize) -> u8;

    /// Returns the number at the even offset `at`, stored in network byte order.
    fn be16(&self, at: usize) -> u16;
}

impl Bytes for [u8] {
    type View<const N: usize> = [u8; N];

    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..offset.checked_add(N)?)?.try_into().ok()
    }
}

impl<const N: usize> View for [u8; N] {
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        self[at]
    }

    #[inline(always)]
    fn be16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self[at], self[at + 1]])
    }
}

/// The header that a device's packets start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    /// An Ethernet header, with VLAN tags or without.
    Ethernet,
    /// The IP header, as on tunnels.
    RawIp,
}

/// An ICMP echo packet, or the first fragment of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoPacket {
    /// IP version, and request or reply.
    pub kind: Kind,
    /// ICMP code.
    pub code: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Echo id (RFC 792).
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// Where the IP header starts in the packet; [`addresses`] reads from there.
    pub ip_offset: usize,
    /// Bytes from the IP header on, according to the IP header.
    pub ip_bytes: u32,
    /// Where the ICMP header starts in the packet.
    pub icmp_offset: usize,
    /// Bytes of ICMP header and payload, according to the IP header.
    pub icmp_bytes: u32,
    /// Whether more fragments follow: then this one does not suffice to verify the packet's checksum.
    pub first_fragment: bool,
    /// Whether it is inside the packet of a tunnel.
    pub is_inner: bool,
}

impl EchoPacket {
    /// Returns the bytes after the ICMP header, according to the IP header; of a first fragment, those in it.
    #[inline(always)]
    pub const fn payload_bytes(&self) -> u32 {
        self.icmp_bytes.saturating_sub(ICMP_HEADER as u32)
    }
}

/// The `EtherType` used for `QinQ` before 802.1ad.
const OLD_QINQ: u16 = 0x9100;
const MAX_VLAN_TAGS: usize = 2;
/// IPv6 extension headers (RFC 8200 §4).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// More than any sender that follows RFC 8200 §4.1 writes, and few enough for the kernel's verifier.
const MAX_EXTENSION_HEADERS: usize = 8;

/// Parses the echo packet at the start of `bytes`.
#[inline(always)]
pub fn parse<B: Bytes + ?Sized>(bytes: &B, link_layer: LinkLayer) -> Result<EchoPacket, Skip> {
    parse_where(bytes, link_layer, |_| true)
}

/// Parses like [`parse`], but treats packets of an IP version that is not `wanted` as no echo.
#[inline(always)]
pub fn parse_where<B: Bytes + ?Sized>(
    bytes: &B,
    link_layer: LinkLayer,
    wanted: impl Fn(Family) -> bool,
) -> Result<EchoPacket, Skip> {
    let (ether_type, offset) = network_at(bytes, link_layer)?;
    echo_at(bytes, ether_type, offset, wanted)
}

/// Returns the `EtherType` of a packet, and where its network header starts.
#[inline(always)]
fn network_at<B: Bytes + ?Sized>(bytes: &B, link_layer: LinkLayer) -> Result<(u16, usize), Skip> {
    match link_layer {
        LinkLayer::Ethernet => ethernet_at(bytes, 0),
        LinkLayer::RawIp => raw_ip_at(bytes, 0),
    }
}

#[inline(always)]
fn echo_at<B: Bytes + ?Sized>(
    bytes: &B,
    ether_type: u16,
    offset: usize,
    wanted: impl Fn(Family) -> bool,
) -> Result<EchoPacket, Skip> {
    match ether_type {
        IPV4 if wanted(Family::V4) => ipv4(bytes, offset),
        IPV6 if wanted(Family::V6) => ipv6(bytes, offset),
        _ => Err(Skip::NotEcho),
    }
}

/// Returns the `EtherType` after all VLAN tags of the frame at `start`, and where its network header starts.
#[inline(always)]
fn ethernet_at<B: Bytes + ?Sized>(bytes: &B, start: usize) -> Result<(u16, usize), Skip> {
    let header = bytes.view::<ETHERNET_HEADER>(start).ok_or(Skip::Truncated)?;
    let mut ether_type = header.be16(12);
    let mut offset = start + ETHERNET_HEADER;
    for _ in 0..MAX_VLAN_TAGS {
        if !is_vlan(ether_type) {
            return Ok((ether_type, offset));
        }
        let tag = bytes.view::<VLAN_TAG>(offset).ok_or(Skip::Truncated)?;
        ether_type = tag.be16(2);
        offset += VLAN_TAG;
    }
    if is_vlan(ether_type) { Err(Skip::TooManyTags) } else { Ok((ether_type, offset)) }
}

#[inline(always)]
fn is_vlan(ether_type: u16) -> bool {
    matches!(ether_type, VLAN | QINQ | OLD_QINQ)
}

/// Returns the `EtherType` of the packet without a link header at `start`, from its first half-byte, the IP version, and
/// `start`.
#[inline(always)]
fn raw_ip_at<B: Bytes + ?Sized>(bytes: &B, start: usize) -> Result<(u16, usize), Skip> {
    // Two bytes, as the verifier learns nothing from a check for one.
    let first = bytes.view::<2>(start).ok_or(Skip::Truncated)?;
    match first.byte(0) >> 4 {
        4 => Ok((IPV4, start)),
        6 => Ok((IPV6, start)),
        _ => Err(Skip::NotEcho),
    }
}

#[inline(always)]
fn ipv4<B: Bytes + ?Sized>(bytes: &B, offset: usize) -> Result<EchoPacket, Skip> {
    let header = bytes.view::<IPV4_HEADER>(offset).ok_or(Skip::Truncated)?;
    if header.byte(9) != ICMP {
        return Err(Skip::NotEcho);
    }
    let header_bytes = usize::from(header.byte(0) & 0x0f) * 4;
    let total_bytes = u32::from(header.be16(2));
    let fragment = header.be16(6);
    if fragment & 0x1fff != 0 {
        return Err(Skip::LaterFragment);
    }
    if header.byte(0) >> 4 != 4 || header_bytes < IPV4_HEADER || (total_bytes as usize) < header_bytes {
        return Err(Skip::BadHeader);
    }
    let icmp_offset = offset + header_bytes;
    let icmp_bytes = total_bytes - header_bytes as u32;
    let echo = icmp(bytes, icmp_offset, icmp_bytes, Family::V4)?;
    Ok(EchoPacket {
        kind: echo.kind,
        code: echo.code,
        ttl: header.byte(8),
        id: echo.id,
        seq: echo.seq,
        ip_offset: offset,
        ip_bytes: total_bytes,
        icmp_offset,
        icmp_bytes,
        first_fragment: fragment & 0x2000 != 0,
        is_inner: false,
    })
}

#[inline(always)]
fn ipv6<B: Bytes + ?Sized>(bytes: &B, offset: usize) -> Result<EchoPacket, Skip> {
    let header = bytes.view::<IPV6_HEADER>(offset).ok_or(Skip::Truncated)?;
    let payload_bytes = u32::from(header.be16(4));
    let chain = extension_headers(bytes, offset + IPV6_HEADER, header.byte(6))?;
    if header.byte(0) >> 4 != 6 {
        return Err(Skip::BadHeader);
    }
    let extension_bytes = (chain.end - offset - IPV6_HEADER) as u32;
    let icmp_bytes = payload_bytes.saturating_sub(extension_bytes);
    let echo = icmp(bytes, chain.end, icmp_bytes, Family::V6)?;
    Ok(EchoPacket {
        kind: echo.kind,
        code: echo.code,
        ttl: header.byte(7),
        id: echo.id,
        seq: echo.seq,
        ip_offset: offset,
        ip_bytes: payload_bytes + IPV6_HEADER as u32,
        icmp_offset: chain.end,
        icmp_bytes,
        first_fragment: chain.first_fragment,
        is_inner: false,
    })
}

/// Returns source and destination address of `echo`, which was parsed from `bytes`: in wire order, IPv4 as `::ffff:a.b.c.d`.
#[inline(always)]
pub fn addresses<B: Bytes + ?Sized>(bytes: &B, echo: &EchoPacket) -> Option<([u8; 16], [u8; 16])> {
    let [source, destination] = address_words(bytes, echo)?;
    Some((bytemuck::cast(source), bytemuck::cast(destination)))
}

/// Returns both addresses, each as the two numbers that its bytes are in memory: in the kernel half, one value of 16 bytes
/// would take sixteen on the stack, which has 512 bytes.
#[inline(always)]
pub fn address_words<B: Bytes + ?Sized>(bytes: &B, echo: &EchoPacket) -> Option<[[u64; 2]; 2]> {
    match echo.kind.family {
        Family::V4 => {
            let header = bytes.view::<IPV4_HEADER>(echo.ip_offset)?;
            let mapped = |at| [0, (0xffff << 32 | u64::from(be32(&header, at))).to_be()];
            Some([mapped(12), mapped(16)])
        }
        Family::V6 => {
            let header = bytes.view::<IPV6_HEADER>(echo.ip_offset)?;
            let words = |at| [be64(&header, at).to_be(), be64(&header, at + 8).to_be()];
            Some([words(8), words(24)])
        }
    }
}

/// Returns the number of 4 bytes at the even offset `at`, stored in network byte order.
#[inline(always)]
fn be32<V: View>(header: &V, at: usize) -> u32 {
    u32::from(header.be16(at)) << 16 | u32::from(header.be16(at + 2))
}

/// Returns the number of 8 bytes at the even offset `at`, stored in network byte order.
#[inline(always)]
fn be64<V: View>(header: &V, at: usize) -> u64 {
    u64::from(be32(header, at)) << 32 | u64::from(be32(header, at + 4))
}

/// The extension headers of an IPv6 packet that lead to `ICMPv6`.
struct Chain {
    /// Where `ICMPv6` starts.
    end: usize,
    /// Whether a fragment header among them says that more fragments follow.
    first_fragment: bool,
}

#[inline(always)]
fn extension_headers<B: Bytes + ?Sized>(bytes: &B, offset: usize, next_header: u8) -> Result<Chain, Skip> {
    let mut chain = Chain { end: offset, first_fragment: false };
    let mut next_header = next_header;
    for _ in 0..MAX_EXTENSION_HEADERS {
        match next_header {
            ICMPV6 => return Ok(chain),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let header = bytes.view::<2>(chain.end).ok_or(Skip::Truncated)?;
                next_header = header.byte(0);
                chain.end += (usize::from(header.byte(1)) + 1) * 8;
            }
            FRAGMENT => {
                let header = bytes.view::<8>(chain.end).ok_or(Skip::Truncated)?;
                let fragment = header.be16(2);
                next_header = header.byte(0);
                if fragment & 0xfff8 != 0 {
                    return Err(later_fragment_of(next_header));
                }
                chain.first_fragment = fragment & 1 != 0;
                chain.end += 8;
            }
            _ => return Err(Skip::NotEcho),
        }
    }
    if next_header == ICMPV6 { Ok(chain) } else { Err(Skip::TooManyHeaders) }
}

/// Classifies a later fragment: it matters if the packet is ICMP, or may be after a header that is not in this fragment.
#[inline(always)]
fn later_fragment_of(next_header: u8) -> Skip {
    match next_header {
        ICMPV6 | HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => Skip::LaterFragment,
        _ => Skip::NotEcho,
    }
}

/// The ICMP header of an echo packet.
struct IcmpEcho {
    kind: Kind,
    code: u8,
    id: u16,
    seq: u16,
}

/// Parses the ICMP header. `icmp_bytes`: how many of the IP packet's bytes are left for it; what follows is padding,
/// whatever it looks like.
#[inline(always)]
fn icmp<B: Bytes + ?Sized>(bytes: &B, offset: usize, icmp_bytes: u32, family: Family) -> Result<IcmpEcho, Skip> {
    let header = bytes.view::<ICMP_HEADER>(offset).ok_or(Skip::Truncated)?;
    if icmp_bytes < ICMP_HEADER as u32 {
        return Err(Skip::Truncated);
    }
    let kind = Kind::from_icmp_type(family, header.byte(0)).ok_or(Skip::NotEcho)?;
    Ok(IcmpEcho { kind, code: header.byte(1), id: header.be16(4), seq: header.be16(6) })
}

/// Returns an IPv4 address as an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2).
#[inline(always)]
pub const fn mapped(address: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, address[0], address[1], address[2], address[3]]
}

#[cfg(test)]
mod tests;
