//! Properties of all packets, checked on generated ones.

use std::vec::Vec;

use proptest::prelude::*;

use super::{
    build::{Extension, Network, Spec, V4_ENDS, V6_ENDS},
    read,
};
use crate::{
    contract::{Echo, Family, Skip},
    packet::{LinkLayer, addresses, mapped, parse},
};

fn extension() -> impl Strategy<Value = Extension> {
    prop_oneof![
        4 => (prop::sample::select(&[0_u8, 43, 60][..]), 0..4_u8)
            .prop_map(|(number, eights)| Extension::Sized { number, eights }),
        1 => (0..8_u16).prop_map(|offset_and_flags| Extension::Fragment { offset_and_flags }),
    ]
}

fn network() -> impl Strategy<Value = Network> {
    prop_oneof![
        (0..=10_u8, 0..8_u16).prop_map(|(words, flags)| Network::V4 { words, fragment: flags << 13 }),
        prop::collection::vec(extension(), 0..=8).prop_map(|chain| Network::V6 { chain }),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    let tags = prop::collection::vec(prop::sample::select(&[0x8100_u16, 0x88a8, 0x9100][..]), 0..=2);
    let echo = prop_oneof![Just(Echo::Request), Just(Echo::Reply)];
    let payload = prop::collection::vec(any::<u8>(), 0..64);
    let numbers = any::<(u8, u8, u16, u16, u8)>();
    (tags, network(), echo, payload, numbers).prop_map(|(tags, network, echo, payload, (ttl, code, id, seq, fill))| {
        Spec { tags, network, ttl, echo, code, id, seq, payload, fill }
    })
}

/// Generates bytes that often pass the first checks: a valid frame in which some bytes were replaced.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (spec(), changes).prop_map(|(spec, changes)| {
        let mut frame = spec.frame();
        for (place, byte) in changes {
            let place = place.index(frame.len());
            frame[place] = byte;
        }
        frame
    })
}

/// Checks that, whatever the bytes, an echo packet lies within them, and its addresses can be read.
fn holds_of_any(bytes: &[u8], link_layer: LinkLayer) -> Result<(), TestCaseError> {
    let Ok(echo) = parse(bytes, link_layer) else { return Ok(()) };
    prop_assert!(echo.icmp_offset + 8 <= bytes.len());
    prop_assert!(echo.icmp_offset >= echo.ip_offset + 20);
    prop_assert_eq!(u64::from(echo.ip_bytes), (echo.icmp_offset - echo.ip_offset) as u64 + u64::from(echo.icmp_bytes));
    prop_assert!(echo.icmp_bytes >= 8);
    prop_assert_eq!(bytes[echo.icmp_offset], echo.kind.icmp_type());
    prop_assert!(addresses(bytes, &echo).is_some());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        holds_of_any(&bytes, LinkLayer::Ethernet)?;
        holds_of_any(&bytes, LinkLayer::RawIp)?;
    }

    #[test]
    fn damaged_packets_are_read_without_a_panic(bytes in damaged(), cut in any::<prop::sample::Index>()) {
        holds_of_any(&bytes, LinkLayer::Ethernet)?;
        holds_of_any(&bytes[..cut.index(bytes.len())], LinkLayer::Ethernet)?;
        holds_of_any(&bytes[14..], LinkLayer::RawIp)?;
    }

    #[test]
    fn a_valid_packet_gives_exactly_its_fields(spec in spec()) {
        prop_assert_eq!(read(&spec.frame()), Ok(spec.expected()));
        prop_assert_eq!(parse(&spec.ip()[..], LinkLayer::RawIp), Ok(spec.expected_at(0)));
        let ends = addresses(&spec.frame()[..], &spec.expected());
        let expected = match spec.expected().kind.family {
            Family::V4 => (mapped(V4_ENDS[0]), mapped(V4_ENDS[1])),
            Family::V6 => (V6_ENDS[0], V6_ENDS[1]),
        };
        prop_assert_eq!(ends, Some(expected));
    }

    #[test]
    fn a_valid_packet_cut_anywhere_in_its_headers_is_truncated(spec in spec()) {
        let (frame, expected) = (spec.frame(), spec.expected());
        for length in 0..frame.len() {
            let cut = if length < expected.icmp_offset + 8 { Err(Skip::Truncated) } else { Ok(expected) };
            prop_assert_eq!(read(&frame[..length]), cut, "cut to {} bytes", length);
        }
    }

    #[test]
    fn a_third_tag_is_one_too_many(spec in spec(), more in 1..4_usize) {
        let mut spec = spec;
        spec.tags = [0x8100, 0x88a8].into();
        spec.tags.extend([0x9100].repeat(more));
        prop_assert_eq!(read(&spec.frame()), Err(Skip::TooManyTags));
    }

    #[test]
    fn a_ninth_header_is_one_too_many(chain in prop::collection::vec(extension(), 9..12)) {
        prop_assert_eq!(read(&Spec::v6(&chain).frame()), Err(Skip::TooManyHeaders));
    }

    #[test]
    fn a_later_fragment_is_skipped_wherever_its_header_stands(
        chain in prop::collection::vec(extension(), 1..=8), place in any::<prop::sample::Index>(), offset in 1..0x2000_u16,
        words in 0..=10_u8, flags in 0..8_u16,
    ) {
        let v4 = Spec::plain(Network::V4 { words, fragment: flags << 13 | offset });
        prop_assert_eq!(read(&v4.frame()), Err(Skip::LaterFragment));
        let mut chain = chain;
        let place = place.index(chain.len());
        chain[place] = Extension::Fragment { offset_and_flags: offset << 3 };
        let skip = read(&Spec::v6(&chain).frame()).expect_err("a later fragment");
        // A second fragment header is no part of any valid packet.
        let nested = matches!(chain.get(place + 1), Some(Extension::Fragment { .. }));
        prop_assert_eq!(skip, if nested { Skip::NotEcho } else { Skip::LaterFragment });
    }
}
