//! Frames for the kernel programs: echo packets in every wrapping that they can read, and others that they cannot.

use std::net::{Ipv4Addr, Ipv6Addr};

use probe_ebpf::{Echo, Family, Kind, Skip};
use probe_user::traffic::{
    EchoMessage, Frame,
    frame::{CUSTOMER_TAG, Rest, SERVICE_TAG, V4, V6},
};

use super::loaded::Counted;

pub(crate) const REQUEST: Kind = Kind { family: Family::V4, echo: Echo::Request };
pub(crate) const REPLY: Kind = Kind { family: Family::V4, echo: Echo::Reply };
pub(crate) const REQUEST6: Kind = Kind { family: Family::V6, echo: Echo::Request };
pub(crate) const REPLY6: Kind = Kind { family: Family::V6, echo: Echo::Reply };

pub(crate) const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const B6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// An IPv4 or IPv6 frame from A to B with that message.
pub(crate) fn v4(kind: Kind, id: u16, seq: u16, payload: &[u8]) -> Frame<V4> {
    Frame::v4(A, B, &EchoMessage::new(kind, id, seq, payload))
}

pub(crate) fn v6(kind: Kind, id: u16, seq: u16, payload: &[u8]) -> Frame<V6> {
    Frame::v6(A6, B6, &EchoMessage::new(kind, id, seq, payload))
}

/// The frame with nothing special, of any kind.
pub(crate) fn plain(kind: Kind, id: u16) -> Vec<u8> {
    match kind.family {
        Family::V4 => v4(kind, id, 1, b"payload").bytes(),
        Family::V6 => v6(kind, id, 1, b"payload").bytes(),
    }
}

/// An echo frame, and how it must be counted.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) frame: Vec<u8>,
    /// Where its ICMP header ends: what is cut before is not echo.
    pub(crate) headers: usize,
    pub(crate) counted: Counted,
}

/// Echo frames of every kind, in every wrapping, each with an id of its own.
pub(crate) fn echoes() -> Vec<Sample> {
    let mut samples = Vec::new();
    for tags in [&[][..], &[CUSTOMER_TAG], &[SERVICE_TAG, CUSTOMER_TAG]] {
        for (name, make) in V4_WRAPPINGS {
            for kind in [REQUEST, REPLY] {
                let id = 1000 + samples.len() as u16;
                let mut frame = make(v4(kind, id, 9, b"payload"));
                for tag in tags {
                    frame = frame.vlan(*tag, 0x2007);
                }
                let counted = Counted { kind, id, bytes: frame.ip_bytes().len() as u64 };
                let headers = frame.message_at() + 8;
                let name = format!("IPv4 {name} {kind:?} with {} tags", tags.len());
                samples.push(Sample { name, frame: frame.bytes(), headers, counted });
            }
        }
        for (name, make) in V6_WRAPPINGS {
            for kind in [REQUEST6, REPLY6] {
                let id = 1000 + samples.len() as u16;
                let mut frame = make(v6(kind, id, 9, b"payload"));
                for tag in tags {
                    frame = frame.vlan(*tag, 0x2007);
                }
                let counted = Counted { kind, id, bytes: frame.ip_bytes().len() as u64 };
                let headers = frame.message_at() + 8;
                let name = format!("IPv6 {name} {kind:?} with {} tags", tags.len());
                samples.push(Sample { name, frame: frame.bytes(), headers, counted });
            }
        }
    }
    samples
}

type Wrapping<N> = (&'static str, fn(Frame<N>) -> Frame<N>);

const V4_WRAPPINGS: [Wrapping<V4>; 5] = [
    ("plain", |frame| frame),
    ("with a word of options", |frame| frame.options(&[1])),
    ("with ten words of options", |frame| frame.options(&[8; 40])),
    ("don't fragment", Frame::df),
    ("first fragment", |frame| frame.fragment(0, Rest::Follows)),
];

const V6_WRAPPINGS: [Wrapping<V6>; 8] = [
    ("plain", |frame| frame),
    ("hop by hop", |frame| frame.hop_by_hop(&[])),
    ("routing", |frame| frame.routing(4, 0, &[0; 20])),
    ("destination", |frame| frame.destination(&[1; 14])),
    ("first fragment", |frame| frame.fragment(0, Rest::Follows, 7)),
    ("atomic fragment", |frame| frame.fragment(0, Rest::Last, 7)),
    ("in the order of RFC 8200", |frame| {
        let frame = frame.hop_by_hop(&[]).destination(&[]).routing(4, 0, &[]);
        frame.fragment(0, Rest::Follows, 7).destination(&[])
    }),
    ("behind eight headers", |frame| (0..8).fold(frame, |frame, _| frame.destination(&[]))),
];

/// Frames that are skipped, with the cause.
pub(crate) fn skipped() -> Vec<(&'static str, Vec<u8>, Skip)> {
    let request = || v4(REQUEST, 7, 1, &[7; 24]);
    let request6 = || v6(REQUEST6, 7, 1, &[7; 24]);
    let nine = (0..9).fold(request6(), |frame, _| frame.hop_by_hop(&[]));
    let changed = |at: usize, to: u8| {
        let mut frame = request().bytes();
        frame[14 + at] = to;
        frame
    };
    let changed6 = |at: usize, to: u8| {
        let mut frame = request6().bytes();
        frame[14 + at] = to;
        frame
    };
    vec![
        (
            "three tags",
            request().vlan(SERVICE_TAG, 1).vlan(CUSTOMER_TAG, 2).vlan(CUSTOMER_TAG, 3).bytes(),
            Skip::TooManyTags,
        ),
        ("nine headers", nine.bytes(), Skip::TooManyHeaders),
        ("a later fragment", request().fragment(8, Rest::Follows).bytes(), Skip::LaterFragment),
        ("the last fragment", request().fragment(16, Rest::Last).bytes(), Skip::LaterFragment),
        ("a later IPv6 fragment", request6().fragment(8, Rest::Follows, 1).bytes(), Skip::LaterFragment),
        (
            "a later IPv6 fragment behind a header",
            request6().hop_by_hop(&[]).fragment(8, Rest::Last, 1).bytes(),
            Skip::LaterFragment,
        ),
        ("IPv4 of version 6", changed(0, 0x65), Skip::BadHeader),
        ("IPv4 with a header of 16 bytes", changed(0, 0x44), Skip::BadHeader),
        ("IPv4 with a total length of 19", changed(3, 19), Skip::BadHeader),
        ("IPv4 that ends in its ICMP header", changed(3, 27), Skip::Truncated),
        ("IPv6 of version 4", changed6(0, 0x45), Skip::BadHeader),
        ("IPv6 that ends in its ICMP header", changed6(5, 7), Skip::Truncated),
    ]
}

/// Frames that are none of probe's business.
pub(crate) fn others() -> Vec<(&'static str, Vec<u8>)> {
    let request = || v4(REQUEST, 7, 1, &[7; 24]);
    let request6 = || v6(REQUEST6, 7, 1, &[7; 24]);
    let mut unreachable = request().bytes();
    unreachable[34] = 3;
    let mut neighbour = request6().bytes();
    neighbour[54] = 135;
    vec![
        ("ARP", request().ethertype(0x0806).bytes()),
        ("ARP in a VLAN", request().vlan(CUSTOMER_TAG, 1).ethertype(0x0806).bytes()),
        ("UDP", request().protocol(17).bytes()),
        ("TCP", request().protocol(6).bytes()),
        ("a later fragment of UDP", request().protocol(17).fragment(8, Rest::Last).bytes()),
        ("ICMP unreachable", unreachable),
        ("UDP over IPv6", request6().protocol(17).bytes()),
        ("TCP behind a header", request6().hop_by_hop(&[]).protocol(6).bytes()),
        ("ESP", request6().protocol(50).bytes()),
        ("a later IPv6 fragment of UDP", request6().protocol(17).fragment(8, Rest::Last, 1).bytes()),
        ("neighbour solicitation", neighbour),
    ]
}
