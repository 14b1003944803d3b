//! The link layer: Ethernet types, VLAN tags, and devices without a link header.

use super::{assert_echo, assert_skip, build::Spec, read};
use crate::{
    contract::Skip,
    packet::{LinkLayer, parse},
};

#[test]
fn frames_of_other_protocols_are_not_echo() {
    for ether_type in [0x0806_u16, 0x8847, 0x88cc, 0x05dc, 0, 0xffff] {
        let mut frame = Spec::v4().frame();
        frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
        assert_skip(&frame, Skip::NotEcho);
        assert_eq!(read(&frame[..14]), Err(Skip::NotEcho), "the type alone says it");
    }
}

#[test]
fn a_frame_shorter_than_its_header_is_truncated() {
    for length in 0..14 {
        assert_eq!(read(&[0; 14][..length]), Err(Skip::Truncated));
    }
}

#[test]
fn one_tag_or_two_of_any_protocol_are_stepped_over() {
    let protocols = [0x8100, 0x88a8, 0x9100];
    for outer in protocols {
        for base in [Spec::v4(), Spec::v6(&[])] {
            let spec = Spec { tags: [outer].into(), ..base.clone() };
            assert_echo(&spec.frame(), &spec.expected());
            for inner in protocols {
                let spec = Spec { tags: [outer, inner].into(), ..base.clone() };
                assert_echo(&spec.frame(), &spec.expected());
            }
        }
    }
}

#[test]
fn three_tags_are_too_many() {
    let spec = Spec { tags: [0x88a8, 0x8100, 0x8100].into(), ..Spec::v4() };
    assert_skip(&spec.frame(), Skip::TooManyTags);
    assert_eq!(read(&spec.frame()[..22]), Err(Skip::TooManyTags), "the third tag's protocol says it");
}

#[test]
fn what_a_tag_holds_is_looked_at() {
    let mut frame = Spec { tags: [0x8100].into(), ..Spec::v4() }.frame();
    frame[16..18].copy_from_slice(&[0x08, 0x06]);
    assert_skip(&frame, Skip::NotEcho);
}

#[test]
fn padding_behind_the_packet_is_not_part_of_it() {
    for spec in [Spec::v4(), Spec::v6(&[])] {
        let mut frame = spec.frame();
        frame.resize(frame.len() + 46, 8);
        assert_eq!(read(&frame), Ok(spec.expected()));
    }
}

#[test]
fn a_tunnel_s_packets_start_with_the_ip_header() {
    for spec in [Spec::v4(), Spec::v6(&[])] {
        let (ip, expected) = (spec.ip(), spec.expected_at(0));
        for length in 0..=ip.len() {
            let cut = if length < expected.icmp_offset + 8 { Err(Skip::Truncated) } else { Ok(expected) };
            assert_eq!(parse(&ip[..length], LinkLayer::RawIp), cut, "cut to {length} bytes");
        }
    }
}

#[test]
fn a_tunnel_s_packet_of_neither_version_is_not_echo() {
    for version in [0, 5, 7, 15] {
        let mut ip = Spec::v4().ip();
        ip[0] = version << 4 | 5;
        assert_eq!(parse(&ip[..], LinkLayer::RawIp), Err(Skip::NotEcho));
    }
}
