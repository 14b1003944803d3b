//! Reads later fragments of ICMP packets as they enter an interface: hops see only the first one, which alone has the echo
//! header.

use std::{
    collections::VecDeque,
    io::{self, Read},
    net::{IpAddr, Ipv6Addr},
};

use probe_ebpf::{
    Family,
    packet::{ICMP, ICMP_HEADER, ICMPV6, IPV6_HEADER},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::error_tap::{JUMP_EQUAL, LOAD_BYTE, LOAD_HALF, RETURN, bind, incoming_only};
use crate::model::trace::Tail;

/// The captured bytes of a fragment: IP headers with options.
const SNAP_BYTES: u32 = 80;

/// The most packets whose fragments are waited for; beyond that, the oldest is given up.
const MOST: usize = 256;

/// `BPF_JMP | BPF_JSET` of `linux/bpf_common.h`.
const JUMP_SET: u16 = 0x45;

/// `nexthdr` of an IPv6 fragment header (RFC 8200 section 4.5).
const FRAGMENT: u8 = 44;

/// Reads such fragments, and reports which packets they complete, until it is dropped.
#[derive(Debug)]
pub struct FragmentTap {
    socket: Socket,
    family: Family,
    tails: Tails,
}

impl FragmentTap {
    /// Opens a tap on the interface with this index, in the calling thread's network namespace.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2): this needs `CAP_NET_RAW`.
    pub fn open(ifindex: u32, family: Family) -> io::Result<Self> {
        // Protocol 0: nothing arrives before it is bound to its interface and filtered.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0)))?;
        socket.attach_filter(&filter(family))?;
        socket.set_nonblocking(true)?;
        bind(&socket, ifindex)?;
        Ok(Self { socket, family, tails: Tails::default() })
    }

    /// Returns the ends of packets that came since the last call.
    pub fn take(&mut self) -> Vec<Tail> {
        let mut complete = Vec::new();
        let mut packet = [0; SNAP_BYTES as usize];
        loop {
            match self.socket.read(&mut packet) {
                Ok(length) => {
                    complete.extend(read(&packet[..length], self.family).and_then(|piece| self.tails.add(piece)));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return complete,
            }
        }
    }
}

/// The packet that a fragment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Whose {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
}

/// A later fragment: which bytes of the packet it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    whose: Whose,
    start: u32,
    end: u32,
    last: bool,
}

/// Packets of which some later fragments came, the oldest first.
#[derive(Debug, Default)]
struct Tails(VecDeque<(Whose, Vec<Piece>)>);

impl Tails {
    /// Adds a fragment; returns the part of its packet from some byte to the end, if that part grew.
    fn add(&mut self, piece: Piece) -> Option<Tail> {
        let place = self.0.iter().position(|(whose, _)| *whose == piece.whose);
        let index = place.unwrap_or_else(|| {
            if self.0.len() == MOST {
                self.0.pop_front();
            }
            self.0.push_back((piece.whose, Vec::new()));
            self.0.len() - 1
        });
        let pieces = &mut self.0[index].1;
        if pieces.iter().any(|other| other.start == piece.start) {
            return None;
        }
        pieces.push(piece);
        pieces.sort_unstable_by_key(|piece| piece.start);
        let (start, end) = whole(pieces)?;
        let size = u16::try_from(end.checked_sub(ICMP_HEADER)?).ok()?;
        Some(Tail { source: piece.whose.source, destination: piece.whose.destination, start, size })
    }
}

/// Returns where these pieces start and end, if they are contiguous and include the end of the packet.
fn whole(pieces: &[Piece]) -> Option<(u16, usize)> {
    let (first, last) = (pieces.first()?, pieces.last().filter(|piece| piece.last)?);
    let joined = pieces.windows(2).all(|pair| pair[0].end == pair[1].start);
    joined.then_some((u16::try_from(first.start).ok()?, last.end as usize))
}

/// Parses the fragment in an IP packet.
fn read(packet: &[u8], family: Family) -> Option<Piece> {
    let half = |at: usize| Some(u32::from(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?)));
    let (whose, offset, more, length) = match family {
        Family::V4 => {
            let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
            let header = u32::from(packet.first()? & 15) * 4;
            let whose = Whose { source: address(12)?, destination: address(16)?, identification: half(4)? };
            let place = half(6)?;
            (whose, (place & 0x1fff) * 8, place & 0x2000 != 0, half(2)?.checked_sub(header)?)
        }
        Family::V6 => {
            let address = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
            let identification = half(IPV6_HEADER + 4)? << 16 | half(IPV6_HEADER + 6)?;
            let whose = Whose { source: address(8)?.into(), destination: address(24)?.into(), identification };
            let place = half(IPV6_HEADER + 2)?;
            (whose, place & 0xfff8, place & 1 != 0, half(4)?.checked_sub(8)?)
        }
    };
    (offset > 0).then_some(Piece { whose, start: offset, end: offset + length, last: !more })
}

/// Keeps incoming later fragments of ICMP and drops all else, so that a busy interface does not fill the socket.
fn filter(family: Family) -> Vec<SockFilter> {
    let at = IPV6_HEADER as u32;
    let checks = match family {
        Family::V4 => vec![
            SockFilter::new(LOAD_BYTE, 0, 0, 9),
            SockFilter::new(JUMP_EQUAL, 0, 3, ICMP.into()),
            SockFilter::new(LOAD_HALF, 0, 0, 6),
            SockFilter::new(JUMP_SET, 0, 1, 0x1fff),
        ],
        Family::V6 => vec![
            SockFilter::new(LOAD_BYTE, 0, 0, 6),
            SockFilter::new(JUMP_EQUAL, 0, 5, FRAGMENT.into()),
            SockFilter::new(LOAD_BYTE, 0, 0, at),
            SockFilter::new(JUMP_EQUAL, 0, 3, ICMPV6.into()),
            SockFilter::new(LOAD_HALF, 0, 0, at + 2),
            SockFilter::new(JUMP_SET, 0, 1, 0xfff8),
        ],
    };
    let keep = SockFilter::new(RETURN, 0, 0, SNAP_BYTES);
    let drop = SockFilter::new(RETURN, 0, 0, 0);
    let checks: Vec<SockFilter> = checks.into_iter().chain([keep, drop]).collect();
    incoming_only(family, checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(identification: u16, offset: u16, payload: u16, more: bool) -> Vec<u8> {
        let place = (offset / 8) | if more { 0x2000 } else { 0 };
        let halves = [0x4500, 20 + payload, identification, place, 0x3f01, 0];
        let mut packet: Vec<u8> = halves.iter().flat_map(|half| half.to_be_bytes()).collect();
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet
    }

    fn v6(identification: u32, offset: u16, payload: u16, last: bool) -> Vec<u8> {
        let mut packet =
            [&[0x60, 0, 0, 0][..], &(payload + 8).to_be_bytes(), &[44, 64], &[0; 15], &[1], &[0; 15], &[2]].concat();
        let place = offset | u16::from(!last);
        packet.extend([&[58, 0][..], &place.to_be_bytes(), &identification.to_be_bytes()].concat());
        packet
    }

    /// Returns where the ends start, and how long their packets are.
    fn ends(packets: &[Vec<u8>], family: Family) -> Vec<(u16, u16)> {
        let mut tails = Tails::default();
        let complete = packets.iter().filter_map(|packet| tails.add(read(packet, family)?));
        complete.map(|tail| (tail.start, tail.size)).collect()
    }

    #[test]
    fn an_end_is_told_once_nothing_is_missing_in_it() {
        // 4000 bytes and the ICMP header: 1480 in the first fragment, then 1480 and 1048.
        let (middle, last) = (v4(7, 1480, 1480, true), v4(7, 2960, 1048, false));
        assert_eq!(ends(&[middle.clone(), last.clone()], Family::V4), [(1480, 4000)]);
        assert_eq!(ends(&[last.clone(), middle.clone()], Family::V4), [(2960, 4000), (1480, 4000)]);
        assert_eq!(ends(&[last.clone(), last], Family::V4), [(2960, 4000)]);
        assert!(ends(std::slice::from_ref(&middle), Family::V4).is_empty());
        let other = v4(8, 2960, 1048, false);
        assert_eq!(ends(&[middle, other], Family::V4), [(2960, 4000)], "of two packets");
        assert_eq!(ends(&[v4(9, 1480, 1, false)], Family::V4), [(1480, 1473)]);
    }

    #[test]
    fn so_it_is_over_ipv6() {
        assert_eq!(ends(&[v6(70_000, 1448, 1448, false), v6(70_000, 2896, 1112, true)], Family::V6), [(1448, 4000)]);
        assert_eq!(ends(&[v6(70_000, 1448, 1448, false), v6(4464, 2896, 1112, true)], Family::V6), [(2896, 4000)]);
        assert_eq!(ends(&[v6(3, 1448, 13, true)], Family::V6), [(1448, 1453)]);
    }

    #[test]
    fn first_fragments_and_stumps_are_none() {
        assert_eq!(read(&v4(7, 0, 1480, true), Family::V4), None);
        assert_eq!(read(&v6(7, 0, 1448, false), Family::V6), None);
        assert_eq!(read(&v4(7, 1480, 8, false)[..18], Family::V4), None);
        assert_eq!(read(&[], Family::V6), None);
    }

    #[test]
    fn what_is_waited_for_is_bounded() {
        let mut tails = Tails::default();
        for identification in 0..2_000 {
            let piece = read(&v4(identification, 1480, 1480, true), Family::V4).expect("a later fragment");
            assert_eq!(tails.add(piece), None);
        }
        assert_eq!(tails.0.len(), MOST);
    }
}
