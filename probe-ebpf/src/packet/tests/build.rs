//! Builds echo packets with every part chosen, and what the parser must return for each.

use std::{vec, vec::Vec};

use crate::{
    contract::{Echo, Family, Kind},
    packet::EchoPacket,
};

/// The addresses of all built packets.
pub(super) const V4_ENDS: [[u8; 4]; 2] = [[192, 0, 2, 1], [198, 51, 100, 2]];
pub(super) const V6_ENDS: [[u8; 16]; 2] = [
    [0x20, 1, 0xd, 0xb8, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [0xfd, 16, 15, 14, 13, 12, 11, 9, 8, 7, 6, 5, 4, 3, 2, 1],
];

/// An echo packet to build.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// The protocols of its VLAN tags, outermost first.
    pub(super) tags: Vec<u16>,
    pub(super) network: Network,
    pub(super) ttl: u8,
    pub(super) echo: Echo,
    pub(super) code: u8,
    pub(super) id: u16,
    pub(super) seq: u16,
    pub(super) payload: Vec<u8>,
    /// What fills options, extension headers and checksums.
    pub(super) fill: u8,
}

/// Its IP header.
#[derive(Clone, Debug)]
pub(super) enum Network {
    /// IPv4 with so many 4-byte words of options, and flags and fragment offset as they stand in the header.
    V4 { words: u8, fragment: u16 },
    /// IPv6 with these extension headers.
    V6 { chain: Vec<Extension> },
}

/// An IPv6 extension header.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extension {
    /// One that gives its length: its number, and its length in 8-byte units beyond the first.
    Sized { number: u8, eights: u8 },
    /// A fragment header, with offset and flags as they stand in it.
    Fragment { offset_and_flags: u16 },
}

impl Extension {
    fn number(self) -> u8 {
        match self {
            Self::Sized { number, .. } => number,
            Self::Fragment { .. } => 44,
        }
    }

    /// Returns its length.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Sized { eights, .. } => 8 + usize::from(eights) * 8,
            Self::Fragment { .. } => 8,
        }
    }

    fn write(self, next: u8, fill: u8, out: &mut Vec<u8>) {
        match self {
            Self::Sized { eights, .. } => {
                out.extend([next, eights]);
                out.extend(vec![fill; 6 + usize::from(eights) * 8]);
            }
            Self::Fragment { offset_and_flags } => {
                out.extend([next, fill]);
                out.extend(offset_and_flags.to_be_bytes());
                out.extend([fill; 4]);
            }
        }
    }
}

impl Spec {
    /// Returns a request without optional parts.
    pub(super) fn plain(network: Network) -> Self {
        Self {
            tags: Vec::new(),
            network,
            ttl: 61,
            echo: Echo::Request,
            code: 0,
            id: 0x1234,
            seq: 0xfedc,
            payload: vec![0xab; 12],
            fill: 8,
        }
    }

    /// Returns an IPv4 request without options.
    pub(super) fn v4() -> Self {
        Self::plain(Network::V4 { words: 0, fragment: 0 })
    }

    /// Returns an IPv6 request with these extension headers.
    pub(super) fn v6(chain: &[Extension]) -> Self {
        Self::plain(Network::V6 { chain: chain.to_vec() })
    }

    /// Returns the packet from its IP header on.
    pub(super) fn ip(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match &self.network {
            Network::V4 { words, fragment } => self.ipv4_header(*words, *fragment, &mut out),
            Network::V6 { chain } => self.ipv6_headers(chain, &mut out),
        }
        out.extend([self.kind().icmp_type(), self.code, self.fill, self.fill]);
        out.extend(self.id.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(&self.payload);
        out
    }

    fn ipv4_header(&self, words: u8, fragment: u16, out: &mut Vec<u8>) {
        out.extend([0x45 + words, 0]);
        out.extend(self.ip_bytes().to_be_bytes());
        out.extend([self.fill; 2]);
        out.extend(fragment.to_be_bytes());
        out.extend([self.ttl, 1, self.fill, self.fill]);
        out.extend(V4_ENDS.concat());
        out.extend(vec![self.fill; usize::from(words) * 4]);
    }

    fn ipv6_headers(&self, chain: &[Extension], out: &mut Vec<u8>) {
        let next = |index: usize| chain.get(index).map_or(58, |extension| extension.number());
        out.extend([0x60, 0, 0, 0]);
        out.extend((self.ip_bytes() - 40).to_be_bytes());
        out.extend([next(0), self.ttl]);
        out.extend(V6_ENDS.concat());
        for (index, extension) in chain.iter().enumerate() {
            extension.write(next(index + 1), self.fill, out);
        }
    }

    /// Returns the frame from its Ethernet header on.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut out = vec![2; 12];
        for tag in &self.tags {
            out.extend(tag.to_be_bytes());
            out.extend([self.fill; 2]);
        }
        let ether_type: u16 = if self.kind().family == Family::V4 { 0x0800 } else { 0x86dd };
        out.extend(ether_type.to_be_bytes());
        out.extend(self.ip());
        out
    }

    fn kind(&self) -> Kind {
        let family = if matches!(self.network, Network::V4 { .. }) { Family::V4 } else { Family::V6 };
        Kind { family, echo: self.echo }
    }

    fn header_bytes(&self) -> u16 {
        let bytes = match &self.network {
            Network::V4 { words, .. } => 20 + usize::from(*words) * 4,
            Network::V6 { chain } => 40 + chain.iter().map(|extension| extension.bytes()).sum::<usize>(),
        };
        u16::try_from(bytes).expect("headers are short")
    }

    fn ip_bytes(&self) -> u16 {
        self.header_bytes() + 8 + u16::try_from(self.payload.len()).expect("payloads are short")
    }

    fn first_fragment(&self) -> bool {
        match &self.network {
            Network::V4 { fragment, .. } => fragment & 0x2000 != 0,
            Network::V6 { chain } => {
                let last = chain.iter().rev().find_map(|extension| match extension {
                    Extension::Fragment { offset_and_flags } => Some(offset_and_flags & 1 == 1),
                    Extension::Sized { .. } => None,
                });
                last.unwrap_or(false)
            }
        }
    }

    /// Returns what the parser must return for [`Spec::frame`].
    pub(super) fn expected(&self) -> EchoPacket {
        self.expected_at(14 + 4 * self.tags.len())
    }

    /// Returns what the parser must return for the packet if its IP header starts at `ip_offset`.
    pub(super) fn expected_at(&self, ip_offset: usize) -> EchoPacket {
        EchoPacket {
            kind: self.kind(),
            code: self.code,
            ttl: self.ttl,
            id: self.id,
            seq: self.seq,
            ip_offset,
            ip_bytes: u32::from(self.ip_bytes()),
            icmp_offset: ip_offset + usize::from(self.header_bytes()),
            icmp_bytes: u32::from(self.ip_bytes() - self.header_bytes()),
            first_fragment: self.first_fragment(),
            is_inner: false,
        }
    }
}
