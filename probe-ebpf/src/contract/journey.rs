//! Journeys: which of this run's own probes passed which hop, and when first.
//!
//! A probe is an echo packet whose payload starts with a [`Mark`]. The mark identifies it at every hop of both hosts, even
//! if a NAT rewrote its id, and its reply carries it back.

use bytemuck::{Pod, Zeroable};

use super::{kind::Echo, neighbour::is_discovery};
use crate::packet::{Bytes, EchoPacket, ICMP, ICMP_HEADER, ICMPV6, IPV4_HEADER, IPV6_HEADER, View, tunnel::can_carry};

/// The first bytes of a probe's payload, all in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Mark {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// Which probe of the run, big-endian, below [`MAX_PROBES`].
    pub index: [u8; 2],
    /// Zero.
    pub reserved: [u8; 2],
    /// The number that distinguishes this run from every other, big-endian.
    pub nonce: [u8; 8],
}

/// The start of every mark.
pub const MAGIC: [u8; 4] = *b"prob";

/// Bytes of a mark: the smallest payload of a probe.
pub const MARK_BYTES: usize = size_of::<Mark>();

/// The most probes in a run.
pub const MAX_PROBES: u32 = 1024;

/// What one hop saw of one probe's request or reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Passage {
    /// `CLOCK_MONOTONIC` in nanoseconds when it first passed; 0: never.
    pub first_ns: u64,
    /// How often it passed: more than once if it was duplicated.
    pub times: u32,
    /// The interface at which it passed last; 0 if the hop has none.
    pub ifindex: u32,
    /// The echo id that it had here.
    pub id: u16,
    /// Its TTL or hop limit here.
    pub ttl: u8,
    /// 1: it was recognized by id and sequence number, since its payload had no mark of the run here; it stays 1.
    pub unmarked: u8,
    /// An additional fact of the hop: the return code of `net_dev_xmit`; at `netif_receive_skb` the VLAN id of the frame's tag; else 0.
    pub detail: i32,
    /// The source address that it had here, in wire order, IPv4 as `::ffff:a.b.c.d`.
    pub source: [u8; 16],
    /// The destination address that it had here, in the same form.
    pub destination: [u8; 16],
}

/// Returns the index of a passage in the map of journeys: by hop, then request or reply, then probe.
#[inline(always)]
pub const fn passage_index(hop: u32, echo: Echo, probe: u32) -> u32 {
    let leg = match echo {
        Echo::Request => 0,
        Echo::Reply => 1,
    };
    (hop * 2 + leg) * MAX_PROBES + (probe & (MAX_PROBES - 1))
}

/// Returns where the mark of the packet `echo` ends, if it has one: in bytes from where its own offsets count.
#[inline(always)]
pub const fn mark_end(echo: &EchoPacket) -> usize {
    echo.icmp_offset + ICMP_HEADER + MARK_BYTES
}

/// Returns which probe of the run with this `nonce` the packet `echo` is, which was read from `bytes`; `None` if its payload
/// does not start with a mark of that run.
#[inline(always)]
pub fn probe_of<B: Bytes + ?Sized>(bytes: &B, echo: &EchoPacket, nonce: u64) -> Option<u32> {
    if (echo.icmp_bytes as usize) < ICMP_HEADER + MARK_BYTES {
        return None;
    }
    let mark = bytes.view::<MARK_BYTES>(mark_end(echo) - MARK_BYTES)?;
    let word = |at: usize| (u64::from(mark.be16(at)) << 16) | u64::from(mark.be16(at + 2));
    let index = u32::from(mark.be16(4));
    let ours = word(0) == u64::from(u32::from_be_bytes(MAGIC))
        && (word(8) << 32) | word(12) == nonce
        && mark.be16(6) == 0
        && index < MAX_PROBES;
    ours.then_some(index)
}

/// What makes an echo packet without a mark a probe of the run: its payload has no room for one, or was altered.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// The echo id of all probes.
    pub id: u16,
    /// The sequence number of the first probe.
    pub first_seq: u16,
    /// How many probes there are.
    pub probes: u16,
}

/// Returns which probe the packet `echo` is by its id and sequence number alone.
#[inline(always)]
pub const fn numbered(echo: &EchoPacket, numbers: &Numbers) -> Option<u32> {
    let probe = echo.seq.wrapping_sub(numbers.first_seq);
    if echo.id == numbers.id && probe < numbers.probes { Some(probe as u32) } else { None }
}

/// Reports whether a packet from `source` to `destination`, each as two numbers in the order of its bytes, can be
/// between `near` and `far`: one of its ends is as it should be. The other may be rewritten, or belong to another host
/// that answers.
#[inline(always)]
pub const fn is_between(echo: Echo, [source, destination]: [[u64; 2]; 2], near: [u64; 2], far: [u64; 2]) -> bool {
    let (here, there) = match echo {
        Echo::Request => (source, destination),
        Echo::Reply => (destination, source),
    };
    here[0] == near[0] && here[1] == near[1] || there[0] == far[0] && there[1] == far[1]
}

/// The IP protocol number of most packets.
const TCP: u8 = 6;

/// What one look at a packet shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstLook {
    /// It can be a probe: for the parser to decide.
    MayBeProbe,
    /// It belongs to neighbour discovery.
    Discovery,
    /// Its protocol can carry another packet ([`can_carry`]), and it is not a probe itself.
    Carrier,
    /// It does not concern a run.
    Other,
}

/// Reports whether the packet in `bytes`, from its IP header on, can be a probe of the run with this `nonce`, or with
/// this `id` if one is given.
#[inline(always)]
pub fn may_be_probe<B: Bytes + ?Sized>(bytes: &B, nonce: u64, id: Option<u16>) -> bool {
    first_look(bytes, nonce, id) == FirstLook::MayBeProbe
}

/// Looks at the packet in `bytes`, from its IP header on, for the run with this `nonce`, or with this `id` if one is
/// given. Nearly all packets of a host are [`FirstLook::Other`] after one or two checks, which spares them
/// [`crate::packet::parse`]. Fragments, options and extension headers are left to the parser.
#[inline(always)]
pub fn first_look<B: Bytes + ?Sized>(bytes: &B, nonce: u64, id: Option<u16>) -> FirstLook {
    /// Where the id is in an ICMP header.
    const ID_AT: usize = 4;
    const V6_BYTES: usize = ICMP_HEADER - ID_AT + MARK_BYTES;
    const V4_BYTES: usize = IPV4_HEADER + ICMP_HEADER + MARK_BYTES;
    let Some(begin) = bytes.view::<V4_BYTES>(0) else { return FirstLook::MayBeProbe };
    let probe = match begin.byte(0) {
        0x45 if can_carry(begin.byte(9)) => return FirstLook::Carrier,
        0x45 if begin.byte(9) != ICMP => false,
        0x45 => {
            begin.be16(6) & 0x1fff != 0
                || is_marked(&begin, IPV4_HEADER + ICMP_HEADER, nonce)
                || matches!(id, Some(id) if begin.be16(IPV4_HEADER + ID_AT) == id)
        }
        first if first >> 4 == 6 => match begin.byte(6) {
            TCP => false,
            next if can_carry(next) => return FirstLook::Carrier,
            ICMPV6 if is_discovery(ICMPV6, begin.byte(IPV6_HEADER)) => return FirstLook::Discovery,
            ICMPV6 => match bytes.view::<V6_BYTES>(IPV6_HEADER + ID_AT) {
                Some(begin) => {
                    is_marked(&begin, ICMP_HEADER - ID_AT, nonce) || matches!(id, Some(id) if begin.be16(0) == id)
                }
                None => true,
            },
            _ => true,
        },
        _ => true,
    };
    if probe { FirstLook::MayBeProbe } else { FirstLook::Other }
}

/// Reports whether a mark of the run is `at` this offset.
#[inline(always)]
fn is_marked<V: View>(view: &V, at: usize, nonce: u64) -> bool {
    let word = |from: usize| (u64::from(view.be16(at + from)) << 16) | u64::from(view.be16(at + from + 2));
    word(0) == u64::from(u32::from_be_bytes(MAGIC)) && (word(8) << 32) | word(12) == nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{LinkLayer, parse};

    const NONCE: u64 = 0x0102_0304_0506_0708;

    /// Builds an IPv4 echo request with this mark, and parses it.
    fn packet(mark: &Mark) -> ([u8; 44], EchoPacket) {
        let mut bytes = [0; 44];
        (bytes[0], bytes[3], bytes[9], bytes[20]) = (0x45, 44, 1, 8);
        bytes[28..].copy_from_slice(bytemuck::bytes_of(mark));
        let echo = parse(&bytes[..], LinkLayer::RawIp).expect("an echo packet");
        (bytes, echo)
    }

    fn mark(index: u16) -> Mark {
        Mark { magic: MAGIC, index: index.to_be_bytes(), reserved: [0; 2], nonce: NONCE.to_be_bytes() }
    }

    #[test]
    fn a_probe_is_known_by_its_whole_mark() {
        let (bytes, echo) = packet(&mark(0x0102));
        assert_eq!(probe_of(&bytes[..], &echo, NONCE), Some(0x0102));
        for place in 28..44 {
            let mut other = bytes;
            other[place] ^= 0x80;
            // The low byte of the number makes it another probe's.
            let expected = (place == 33).then_some(0x0182);
            assert_eq!(probe_of(&other[..], &echo, NONCE), expected, "byte {place}");
        }
    }

    #[test]
    fn one_look_passes_over_all_but_probes_and_what_it_cannot_read() {
        let (bytes, _) = packet(&mark(7));
        assert!(may_be_probe(&bytes[..], NONCE, None));
        assert!(!may_be_probe(&bytes[..], NONCE + 1, None));
        let changed = |at: usize, value: u8| {
            let mut other = bytes;
            other[at] = value;
            may_be_probe(&other[..], NONCE, None)
        };
        assert!(!changed(9, TCP) && !changed(28, b'P') && !changed(43, 0));
        // Options, a later fragment, a truncated packet: for the parser to decide.
        assert!(changed(0, 0x46) && changed(7, 1) && may_be_probe(&bytes[..43], NONCE, None));
    }

    #[test]
    fn one_look_at_ipv6_goes_by_its_next_header() {
        let (v4, _) = packet(&mark(7));
        let mut bytes = [0; 64];
        (bytes[0], bytes[5], bytes[6], bytes[40]) = (0x60, 24, ICMPV6, 128);
        bytes[48..].copy_from_slice(&v4[28..]);
        assert!(may_be_probe(&bytes[..], NONCE, None) && !may_be_probe(&bytes[..], NONCE + 1, None));
        let with = |next: u8| {
            let mut other = bytes;
            other[6] = next;
            may_be_probe(&other[..], NONCE + 1, None)
        };
        for (icmp_type, look) in [(135, FirstLook::Discovery), (136, FirstLook::Discovery), (129, FirstLook::Other)] {
            let mut other = bytes;
            other[40] = icmp_type;
            assert_eq!(first_look(&other[..], NONCE + 1, None), look);
        }
        // An extension header is left to the parser.
        assert!(!with(TCP) && !with(17) && with(0) && with(44));
    }

    #[test]
    fn a_number_above_the_last_and_a_mark_that_is_cut_off_are_none() {
        let (bytes, echo) = packet(&mark(1024));
        assert_eq!(probe_of(&bytes[..], &echo, NONCE), None);
        let (bytes, echo) = packet(&mark(0));
        assert_eq!(probe_of(&bytes[..43], &echo, NONCE), None);
        assert_eq!(probe_of(&bytes[..], &EchoPacket { icmp_bytes: 23, ..echo }, NONCE), None);
    }

    #[test]
    fn without_a_mark_a_probe_is_known_by_id_and_number_between_the_two_ends() {
        let (mut bytes, _) = packet(&mark(7));
        (bytes[24], bytes[25], bytes[27]) = (0x12, 0x34, 3);
        bytes[28..].fill(0);
        let echo = parse(&bytes[..], LinkLayer::RawIp).expect("an echo packet");
        assert!(may_be_probe(&bytes[..], NONCE, Some(0x1234)) && !may_be_probe(&bytes[..], NONCE, Some(0x1235)));
        assert_eq!(probe_of(&bytes[..], &echo, NONCE), None);
        let numbers = Numbers { id: 0x1234, first_seq: 1, probes: 3 };
        assert_eq!(numbered(&echo, &numbers), Some(2));
        for other in [
            Numbers { id: 1, ..numbers },
            Numbers { probes: 2, ..numbers },
            Numbers { first_seq: 4, ..numbers },
            Numbers { first_seq: 2, probes: 1, ..numbers },
        ] {
            assert_eq!(numbered(&echo, &other), None, "{other:?}");
        }
    }

    #[test]
    fn one_end_where_it_should_be_is_enough() {
        let [near, far, other] = [[0, 1], [0, 2], [0, 3]];
        for (ends, request, reply) in [
            ([near, far], true, false),
            ([far, near], false, true),
            ([near, other], true, false),
            ([other, near], false, true),
            ([other, far], true, false),
            ([other, other], false, false),
        ] {
            assert_eq!(is_between(Echo::Request, ends, near, far), request, "{ends:?}");
            assert_eq!(is_between(Echo::Reply, ends, near, far), reply, "{ends:?}");
        }
    }

    #[test]
    fn passages_do_not_overlap() {
        assert_eq!(passage_index(0, Echo::Request, MAX_PROBES - 1) + 1, passage_index(0, Echo::Reply, 0));
        assert_eq!(passage_index(0, Echo::Reply, MAX_PROBES - 1) + 1, passage_index(1, Echo::Request, 0));
    }
}
