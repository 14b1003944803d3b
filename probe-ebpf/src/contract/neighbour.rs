//! Packets of ARP (RFC 826) and neighbour discovery (RFC 4861): who asks for which address, and who answers.

use bytemuck::{Pod, Zeroable};

use super::site::EventSite;
use crate::packet::{Bytes, ICMPV6, IPV6_HEADER, View, mapped};

/// The `EtherType` of ARP.
pub const ARP: u16 = 0x0806;

/// [`NeighbourMessage::kind`]: who has this address?
pub const ASKS: u8 = 1;
/// [`NeighbourMessage::kind`]: this address is at that link-layer address.
pub const ANSWERS: u8 = 2;

/// [`NeighbourEvent::hop`]: it is about to enter a device's queue.
pub const LEAVES: u8 = 1;
/// [`NeighbourEvent::hop`]: it enters the stack.
pub const ENTERS: u8 = 2;
/// [`NeighbourEvent::hop`]: the kernel freed it.
pub const FREED: u8 = 3;

/// One packet of ARP or neighbour discovery at one point of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct NeighbourEvent {
    /// Where it was met, or freed.
    pub site: EventSite,
    /// What it says.
    pub message: NeighbourMessage,
    /// [`LEAVES`], [`ENTERS`] or [`FREED`].
    pub hop: u8,
    /// How many layers of tunnels it had around it.
    pub layers: u8,
    /// Zero.
    pub reserved: [u8; 6],
}

/// What such a packet says. Addresses are in wire order, IPv4 as `::ffff:a.b.c.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct NeighbourMessage {
    /// The address that is asked for, or that the answer is about.
    pub about: [u8; 16],
    /// Who asks, or who the answer is for; unspecified if the asker has no address yet.
    pub asker: [u8; 16],
    /// The link-layer address that the sender gives as its own; zeros: it gives none.
    pub lladdr: [u8; 6],
    /// [`ASKS`] or [`ANSWERS`].
    pub kind: u8,
    /// Zero.
    pub reserved: u8,
}

/// `ar_hrd`, `ar_pro`, `ar_hln` and `ar_pln` of ARP between Ethernet and IPv4.
const ETHERNET: u16 = 1;
const IPV4_PROTOCOL: u16 = 0x0800;
const LENGTHS: u16 = 0x0604;
/// Bytes of such a packet.
const ARP_BYTES: usize = 28;

/// Returns what the ARP packet in `bytes` says; `None` if it is not about Ethernet and IPv4, or neither asks nor
/// answers.
#[inline(always)]
pub fn arp<B: Bytes + ?Sized>(bytes: &B) -> Option<NeighbourMessage> {
    let packet = bytes.view::<ARP_BYTES>(0)?;
    if packet.be16(0) != ETHERNET || packet.be16(2) != IPV4_PROTOCOL || packet.be16(4) != LENGTHS {
        return None;
    }
    let address = |at: usize| mapped([packet.byte(at), packet.byte(at + 1), packet.byte(at + 2), packet.byte(at + 3)]);
    let (sender, target) = (address(14), address(24));
    let (kind, about, asker) = match packet.be16(6) {
        1 => (ASKS, target, sender),
        2 => (ANSWERS, sender, target),
        _ => return None,
    };
    Some(NeighbourMessage { about, asker, lladdr: lladdr(&packet, 8), kind, reserved: 0 })
}

/// `ICMPv6` types.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Where the target address ends and options begin.
const ND_BYTES: usize = IPV6_HEADER + 24;

/// Reports whether an IPv6 packet with this next header and this first byte after its header belongs to neighbour
/// discovery.
#[inline(always)]
pub const fn is_discovery(next_header: u8, icmp_type: u8) -> bool {
    next_header == ICMPV6 && (icmp_type == SOLICITATION || icmp_type == ADVERTISEMENT)
}

/// Returns what the packet of neighbour discovery in `bytes` says, from its IPv6 header on; `None` if it is none.
#[inline(always)]
pub fn discovery<B: Bytes + ?Sized>(bytes: &B) -> Option<NeighbourMessage> {
    let packet = bytes.view::<ND_BYTES>(0)?;
    if packet.byte(0) >> 4 != 6 || !is_discovery(packet.byte(6), packet.byte(IPV6_HEADER)) {
        return None;
    }
    let asks = packet.byte(IPV6_HEADER) == SOLICITATION;
    // Source link-layer address of a solicitation, target's of an advertisement (RFC 4861 §4.6.1).
    let wanted = if asks { 0x0101 } else { 0x0201 };
    let option = bytes.view::<8>(ND_BYTES).filter(|option| option.be16(0) == wanted);
    let mut message = NeighbourMessage {
        about: [0; 16],
        asker: [0; 16],
        lladdr: option.map_or([0; 6], |option| lladdr(&option, 2)),
        kind: if asks { ASKS } else { ANSWERS },
        reserved: 0,
    };
    // A solicitation's source asks; an advertisement is for its destination.
    let asker = if asks { 8 } else { 24 };
    for at in 0..16 {
        message.about[at] = packet.byte(IPV6_HEADER + 8 + at);
        message.asker[at] = packet.byte(asker + at);
    }
    Some(message)
}

#[inline(always)]
fn lladdr<V: View>(view: &V, at: usize) -> [u8; 6] {
    [view.byte(at), view.byte(at + 1), view.byte(at + 2), view.byte(at + 3), view.byte(at + 4), view.byte(at + 5)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    fn packet(operation: u8) -> [u8; 28] {
        let mut bytes = [0; 28];
        (bytes[1], bytes[2], bytes[4], bytes[5], bytes[7]) = (1, 8, 6, 4, operation);
        bytes[8..14].copy_from_slice(&MAC);
        bytes[14..18].copy_from_slice(&[10, 0, 0, 1]);
        bytes[24..].copy_from_slice(&[10, 0, 0, 2]);
        bytes
    }

    #[test]
    fn arp_asks_for_its_target_and_answers_about_its_sender() {
        let [one, two] = [mapped([10, 0, 0, 1]), mapped([10, 0, 0, 2])];
        let asks = NeighbourMessage { about: two, asker: one, lladdr: MAC, kind: ASKS, reserved: 0 };
        assert_eq!(arp(&packet(1)[..]), Some(asks));
        let answers = NeighbourMessage { about: one, asker: two, kind: ANSWERS, ..asks };
        assert_eq!(arp(&packet(2)[..]), Some(answers));
    }

    #[test]
    fn what_is_no_arp_of_ethernet_and_ipv4_says_nothing() {
        assert_eq!(arp(&packet(3)[..]), None);
        assert_eq!(arp(&packet(1)[..27]), None);
        for at in [1, 2, 4, 5] {
            let mut bytes = packet(1);
            bytes[at] ^= 0x40;
            assert_eq!(arp(&bytes[..]), None, "byte {at}");
        }
    }

    fn nd(icmp_type: u8, option: u8) -> [u8; 72] {
        let mut bytes = [0; 72];
        (bytes[0], bytes[5], bytes[6], bytes[40], bytes[64], bytes[65]) = (0x60, 32, ICMPV6, icmp_type, option, 1);
        (bytes[23], bytes[39], bytes[63]) = (1, 3, 2);
        bytes[66..].copy_from_slice(&MAC);
        bytes
    }

    fn last(byte: u8) -> [u8; 16] {
        let mut address = [0; 16];
        address[15] = byte;
        address
    }

    #[test]
    fn discovery_is_about_its_target_and_has_the_option_that_belongs_to_it() {
        let asks = NeighbourMessage { about: last(2), asker: last(1), lladdr: MAC, kind: ASKS, reserved: 0 };
        assert_eq!(discovery(&nd(135, 1)[..]), Some(asks));
        assert_eq!(discovery(&nd(136, 2)[..]), Some(NeighbourMessage { asker: last(3), kind: ANSWERS, ..asks }));
        assert_eq!(discovery(&nd(135, 2)[..]), Some(NeighbourMessage { lladdr: [0; 6], ..asks }));
        assert_eq!(discovery(&nd(135, 1)[..64]), Some(NeighbourMessage { lladdr: [0; 6], ..asks }));
        assert_eq!(discovery(&nd(133, 1)[..]), None);
        assert_eq!(discovery(&nd(135, 1)[..63]), None);
    }
}
