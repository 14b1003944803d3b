//! IPv6: chains of extension headers, fragments, and impossible headers.

use std::{vec, vec::Vec};

use super::{
    assert_echo, assert_skip,
    build::{Extension, Spec, V6_ENDS},
    read,
};
use crate::{
    contract::{Echo, Skip},
    packet::addresses,
};

/// Where the IPv6 header starts in an untagged frame.
const IP: usize = 14;

/// Where the first header after it starts.
const NEXT: usize = IP + 40;

const HOP_BY_HOP: Extension = Extension::Sized { number: 0, eights: 0 };
const ROUTING: Extension = Extension::Sized { number: 43, eights: 2 };
const DESTINATION: Extension = Extension::Sized { number: 60, eights: 1 };
const ATOMIC: Extension = Extension::Fragment { offset_and_flags: 0 };
const FIRST: Extension = Extension::Fragment { offset_and_flags: 1 };

/// Builds an IPv6 request with these extension headers, followed by this next-header number instead of `ICMPv6`.
fn ending_in(chain: &[Extension], number: u8) -> Vec<u8> {
    let spec = Spec::v6(chain);
    let mut frame = spec.frame();
    let last = chain.last().map(|last| spec.expected().icmp_offset - last.bytes());
    let at = last.unwrap_or(IP + 6);
    assert_eq!(frame[at], 58);
    frame[at] = number;
    frame
}

#[test]
fn a_hand_written_reply_is_read_field_by_field() {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    frame.extend([0x60, 0, 0, 0, 0, 18, 60, 9]);
    frame.extend(V6_ENDS.concat());
    frame.extend([58, 0, 1, 4, 0, 0, 0, 0]); // destination options: padding
    frame.extend([129, 1, 0xaa, 0xaa, 0x12, 0x34, 0x00, 0x09, b'a', b'b']);
    let echo = read(&frame).expect("an echo packet");
    assert_eq!((echo.kind.icmp_type(), echo.code, echo.ttl, echo.id, echo.seq), (129, 1, 9, 0x1234, 9));
    assert_eq!((echo.ip_offset, echo.ip_bytes, echo.icmp_offset, echo.icmp_bytes), (14, 58, 62, 10));
    assert!(!echo.first_fragment);
    assert_eq!(addresses(&frame[..], &echo), Some((V6_ENDS[0], V6_ENDS[1])));
}

#[test]
fn requests_and_replies_behind_every_kind_of_header_are_read() {
    for echo in [Echo::Request, Echo::Reply] {
        for chain in [&[][..], &[HOP_BY_HOP], &[ROUTING], &[DESTINATION], &[ATOMIC], &[FIRST]] {
            let spec = Spec { echo, ..Spec::v6(chain) };
            assert_echo(&spec.frame(), &spec.expected());
        }
    }
}

#[test]
fn the_order_of_rfc_8200_is_read() {
    let spec = Spec::v6(&[HOP_BY_HOP, DESTINATION, ROUTING, FIRST, DESTINATION]);
    assert!(spec.expected().first_fragment);
    assert_echo(&spec.frame(), &spec.expected());
}

#[test]
fn headers_of_the_greatest_length_are_stepped_over() {
    let longest = Extension::Sized { number: 60, eights: 255 };
    let spec = Spec::v6(&[longest; 8]);
    assert_eq!(read(&spec.frame()), Ok(spec.expected()));
    assert_eq!(spec.expected().icmp_offset, NEXT + 8 * 2048);
}

#[test]
fn eight_headers_are_read_and_nine_are_too_many() {
    for header in [HOP_BY_HOP, ROUTING, DESTINATION, ATOMIC] {
        let eight = Spec::v6(&[header; 8]);
        assert_echo(&eight.frame(), &eight.expected());
        assert_skip(&Spec::v6(&[header; 9]).frame(), Skip::TooManyHeaders);
    }
}

#[test]
fn other_icmp_types_are_not_echo() {
    for icmp_type in (0..=255).filter(|icmp_type| ![128, 129].contains(icmp_type)) {
        let mut frame = Spec::v6(&[]).frame();
        frame[NEXT] = icmp_type;
        assert_skip(&frame, Skip::NotEcho);
    }
}

#[test]
fn other_protocols_are_not_echo_behind_extension_headers_too() {
    for protocol in [1, 6, 17, 50, 51, 59, 135, 255] {
        for chain in [&[][..], &[HOP_BY_HOP], &[HOP_BY_HOP, ROUTING], &[DESTINATION, ATOMIC]] {
            assert_skip(&ending_in(chain, protocol), Skip::NotEcho);
        }
    }
}

#[test]
fn a_later_fragment_that_may_hold_icmp_is_skipped() {
    for offset_and_flags in [8, 9, 0x0100, 0xfff8, 0xfff9] {
        let later = Extension::Fragment { offset_and_flags };
        for next in [0, 43, 58, 60] {
            assert_skip(&ending_in(&[later], next), Skip::LaterFragment);
            assert_skip(&ending_in(&[HOP_BY_HOP, later], next), Skip::LaterFragment);
        }
        for next in [6, 17, 44, 51, 59] {
            assert_skip(&ending_in(&[later], next), Skip::NotEcho);
        }
    }
}

#[test]
fn the_reserved_bits_of_a_fragment_header_do_not_matter() {
    let spec = Spec::v6(&[Extension::Fragment { offset_and_flags: 0b110 }]);
    assert!(!spec.expected().first_fragment);
    assert_echo(&spec.frame(), &spec.expected());
}

#[test]
fn another_version_is_bad() {
    for first in [0x00, 0x45, 0x5f, 0x70, 0xf0] {
        let mut frame = Spec::v6(&[HOP_BY_HOP]).frame();
        frame[IP] = first;
        assert_skip(&frame, Skip::BadHeader);
    }
}

#[test]
fn the_traffic_class_is_not_part_of_the_version() {
    let mut frame = Spec::v6(&[]).frame();
    frame[IP..IP + 4].copy_from_slice(&[0x6f, 0xff, 0xff, 0xff]);
    assert_eq!(read(&frame), Ok(Spec::v6(&[]).expected()));
}

#[test]
fn an_icmp_header_behind_the_packet_s_end_is_not_part_of_it() {
    for (chain, extension_bytes) in [(&[][..], 0), (&[HOP_BY_HOP, DESTINATION], 24)] {
        for payload in 0..extension_bytes + 8 {
            let mut frame = Spec::v6(chain).frame();
            frame[IP + 4..IP + 6].copy_from_slice(&u16::to_be_bytes(payload));
            assert_skip(&frame, Skip::Truncated);
        }
        let mut frame = Spec::v6(chain).frame();
        frame[IP + 4..IP + 6].copy_from_slice(&(extension_bytes + 8).to_be_bytes());
        assert_eq!(read(&frame).map(|echo| echo.icmp_bytes), Ok(8));
    }
}
