//! IPv4: options, fragments, and impossible headers.

use super::{
    assert_echo, assert_skip,
    build::{Network, Spec, V4_ENDS},
    read,
};
use crate::{
    contract::{Echo, Skip},
    packet::{addresses, mapped},
};

/// Where the IPv4 header starts in an untagged frame.
const IP: usize = 14;

fn changed(at: usize, to: u8) -> std::vec::Vec<u8> {
    let mut frame = Spec::v4().frame();
    frame[IP + at] = to;
    frame
}

fn fragment(word: u16) -> Spec {
    Spec::plain(Network::V4 { words: 0, fragment: word })
}

#[test]
fn a_hand_written_request_is_read_field_by_field() {
    let frame = [
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, // Ethernet
        0x45, 0, 0, 30, 0xbe, 0xef, 0x40, 0, 3, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4, DF, TTL 3
        8, 7, 0xaa, 0xaa, 0x12, 0x34, 0x00, 0x09, b'a', b'b', // echo request, code 7
    ];
    let echo = read(&frame).expect("an echo packet");
    assert_eq!((echo.kind.icmp_type(), echo.code, echo.ttl, echo.id, echo.seq), (8, 7, 3, 0x1234, 9));
    assert_eq!((echo.ip_offset, echo.ip_bytes, echo.icmp_offset, echo.icmp_bytes), (14, 30, 34, 10));
    assert!(!echo.first_fragment);
    assert_eq!(addresses(&frame[..], &echo), Some((mapped([10, 0, 0, 1]), mapped([10, 0, 0, 2]))));
    assert_eq!(mapped([10, 0, 0, 1]), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
}

#[test]
fn requests_and_replies_with_any_options_are_read() {
    for echo in [Echo::Request, Echo::Reply] {
        for words in 0..=10 {
            let spec = Spec { echo, ..Spec::plain(Network::V4 { words, fragment: 0 }) };
            assert_echo(&spec.frame(), &spec.expected());
            let ends = addresses(&spec.frame()[..], &spec.expected());
            assert_eq!(ends, Some((mapped(V4_ENDS[0]), mapped(V4_ENDS[1]))));
        }
    }
}

#[test]
fn other_icmp_types_are_not_echo() {
    for icmp_type in (0..=255).filter(|icmp_type| ![0, 8].contains(icmp_type)) {
        assert_skip(&changed(20, icmp_type), Skip::NotEcho);
    }
}

#[test]
fn other_protocols_are_not_echo_and_the_rest_of_their_header_is_not_looked_at() {
    for protocol in [0, 6, 17, 58, 255] {
        let mut frame = changed(9, protocol);
        assert_skip(&frame, Skip::NotEcho);
        frame[IP..IP + 9].fill(0xff);
        assert_eq!(read(&frame[..IP + 20]), Err(Skip::NotEcho));
    }
}

#[test]
fn a_first_fragment_is_read_and_a_later_one_is_skipped() {
    let first = fragment(0x2000);
    assert!(first.expected().first_fragment);
    assert_echo(&first.frame(), &first.expected());
    for word in [1, 0x2001, 0x1fff, 0x3fff, 0x0100, 0x8001] {
        assert_skip(&fragment(word).frame(), Skip::LaterFragment);
    }
}

#[test]
fn flags_that_are_no_fragment_s_do_not_matter() {
    for word in [0x4000, 0x8000, 0xc000] {
        let spec = fragment(word);
        assert!(!spec.expected().first_fragment);
        assert_echo(&spec.frame(), &spec.expected());
    }
}

#[test]
fn a_later_fragment_of_another_protocol_is_not_echo() {
    let mut frame = fragment(0x2001).frame();
    frame[IP + 9] = 17;
    assert_skip(&frame, Skip::NotEcho);
}

#[test]
fn versions_and_header_lengths_that_cannot_be_are_bad() {
    for first in [0x05, 0x35, 0x65, 0xf5, 0x44, 0x40] {
        assert_skip(&changed(0, first), Skip::BadHeader);
    }
}

#[test]
fn a_total_length_below_the_header_s_is_bad() {
    for total in 0..20 {
        let mut frame = changed(2, 0);
        frame[IP + 3] = total;
        assert_skip(&frame, Skip::BadHeader);
    }
    let mut options = Spec::plain(Network::V4 { words: 10, fragment: 0 }).frame();
    options[IP + 2..IP + 4].copy_from_slice(&59_u16.to_be_bytes());
    assert_skip(&options, Skip::BadHeader);
}

#[test]
fn an_icmp_header_behind_the_packet_s_end_is_not_part_of_it() {
    for total in 20..28 {
        let mut frame = changed(2, 0);
        frame[IP + 3] = total;
        assert_skip(&frame, Skip::Truncated);
    }
    let mut frame = changed(2, 0);
    frame[IP + 3] = 28;
    assert_eq!(read(&frame).map(|echo| echo.icmp_bytes), Ok(8));
}
