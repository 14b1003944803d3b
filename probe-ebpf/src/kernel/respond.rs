//! Replies at the NIC: turns a request into its reply in place, as the kernel's ICMP would (RFC 792, RFC 4443 §4.2).
//!
//! Swapping the addresses leaves every checksum as it is; the type and, in IPv4, the TTL change one word each,
//! and their checksums are updated for that (RFC 1624).

use probe_ebpf::{
    Family,
    packet::{ETHERNET_HEADER, EchoPacket, ICMP_HEADER, IPV4_HEADER, IPV6_HEADER, LinkLayer, View, checksum::updated},
};

use super::reader::{Packet, Writable, XdpPacket, below_64};

/// The group bit in the first byte of a hardware address (IEEE 802): set for multicast and broadcast.
const GROUP: u8 = 1;

/// The initial TTL of replies: `IPDEFTTL` of `include/uapi/linux/ip.h`, and what RFC 1700 recommends.
const TTL: u8 = 64;

/// Turns `packet`, which is the request `echo`, into its own reply; returns whether it did. It does not touch what it can't
/// answer completely or can't send back the way it came: fragments, IPv4 options (source routes are among them), IPv6
/// extension headers, and multicast or broadcast packets.
#[inline(always)]
pub(crate) fn reply<const WHOLE: bool>(packet: &XdpPacket<WHOLE>, echo: &EchoPacket) -> bool {
    let header = match echo.kind.family {
        Family::V4 => IPV4_HEADER,
        Family::V6 => IPV6_HEADER,
    };
    if echo.first_fragment || echo.icmp_offset != echo.ip_offset + header {
        return false;
    }
    turn(packet, echo).is_some()
}

/// Checks every header before it writes to the first: a packet is changed completely or not at all.
#[inline(always)]
fn turn<const WHOLE: bool>(packet: &XdpPacket<WHOLE>, echo: &EchoPacket) -> Option<()> {
    let bytes = packet.writable();
    // Two VLAN tags and an IPv6 header end at 62.
    let (ip_at, icmp_at) = (below_64(echo.ip_offset), below_64(echo.icmp_offset));
    let icmp = bytes.header::<ICMP_HEADER>(icmp_at)?;
    let frame = bytes.header::<ETHERNET_HEADER>(0)?;
    let ethernet = packet.link_layer() == LinkLayer::Ethernet;
    if ethernet && frame.byte(0) & GROUP != 0 {
        return None;
    }
    match echo.kind.family {
        Family::V4 => {
            let header = bytes.header::<IPV4_HEADER>(ip_at)?;
            swap::<4, IPV4_HEADER>(&header, 12);
            let old = header.be16(8);
            header.set_byte(8, TTL);
            header.set_be16(10, updated(header.be16(10), old, header.be16(8)));
            turn_icmp(&icmp, 8, 0);
        }
        Family::V6 => {
            let header = bytes.header::<IPV6_HEADER>(ip_at)?;
            swap::<16, IPV6_HEADER>(&header, 8);
            header.set_byte(7, TTL);
            turn_icmp(&icmp, 128, 129);
        }
    }
    if ethernet {
        swap::<6, ETHERNET_HEADER>(&frame, 0);
    }
    Some(())
}

/// Changes the type, and with it the checksum; the code stays.
#[inline(always)]
fn turn_icmp(icmp: &Writable<ICMP_HEADER>, from: u8, to: u8) {
    let word = |icmp_type: u8| u16::from(icmp_type) << 8 | u16::from(icmp.byte(1));
    icmp.set_be16(2, updated(icmp.be16(2), word(from), word(to)));
    icmp.set_byte(0, to);
}

/// Swaps the `BYTES` from `at` on with as many after them.
#[inline(always)]
fn swap<const BYTES: usize, const N: usize>(header: &Writable<N>, at: usize) {
    let mut place = at;
    while place < at + BYTES {
        let (first, second) = (header.be16(place), header.be16(place + BYTES));
        header.set_be16(place, second);
        header.set_be16(place + BYTES, first);
        place += 2;
    }
}
