//! Tests of what is found inside of tunnels: every kind by hand-written bytes, and none in what is malformed.

use std::{vec, vec::Vec};

use super::build::Spec;
use crate::{
    Skip,
    contract::tunnel::{ALL_KINDS, FOU, GENEVE, GRE, IPIP, SIT, Tunnels, VXLAN, VXLAN_GPE},
    packet::{
        EchoPacket, LinkLayer, parse,
        tunnel::{OuterHeader, open, outer_header, parse_inside},
    },
};

fn known() -> Tunnels {
    let mut tunnels = Tunnels { protocols: GRE | IPIP | SIT, ..Tunnels::default() };
    for (port, format) in [(8472, VXLAN), (4790, VXLAN_GPE), (6081, GENEVE), (5555, FOU)] {
        assert!(tunnels.add_port(port, format));
    }
    tunnels
}

/// Returns an IPv4 header with so many words of options.
fn v4(protocol: u8, words: u8, carried: &[u8]) -> Vec<u8> {
    let mut out = vec![0x45 + words, 0, 0, 0, 0, 0, 0, 0, 63, protocol, 0, 0, 192, 168, 6, 1, 192, 168, 6, 2];
    out.extend(vec![1; usize::from(words) * 4]);
    out.extend(carried);
    out
}

/// Returns an IPv6 header, with destination options if that is asked for.
fn v6(protocol: u8, options: bool, carried: &[u8]) -> Vec<u8> {
    let mut out = vec![0x60, 0, 0, 0, 0, 0, if options { 60 } else { protocol }, 62];
    out.extend(
        [[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]]
            .concat(),
    );
    if options {
        out.extend([protocol, 0, 4, 1, 4, 1, 0, 0]);
    }
    out.extend(carried);
    out
}

fn udp(port: u16, carried: &[u8]) -> Vec<u8> {
    let mut out = vec![0xc0, 1];
    out.extend(port.to_be_bytes());
    out.extend([0; 4]);
    out.extend(carried);
    out
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Checks that `packet` is opened at its last `inside` bytes, and that no cut of its headers is.
fn assert_opens(packet: &[u8], inside: &[u8]) {
    let (at, ether_type) = open(packet, &known(), ALL_KINDS).expect("opened");
    assert_eq!(ether_type, if inside[0] >> 4 == 4 { 0x0800 } else { 0x86dd });
    assert_eq!(&packet[at..], inside);
    assert!(parse(&packet[at..], LinkLayer::RawIp).is_ok());
    assert!((0..at).all(|length| open(&packet[..length], &known(), ALL_KINDS).is_none()));
    assert_eq!(open(packet, &Tunnels::default(), ALL_KINDS), None);
    assert_eq!(open(packet, &known(), 1), None);
    assert!(open(packet, &known(), known().opens()).is_some());
}

#[test]
fn every_kind_is_opened_over_both_ip_versions() {
    for spec in [Spec::v4(), Spec::v6(&[])] {
        let (ip, frame) = (spec.ip(), spec.frame());
        let mut tagged = spec.clone();
        tagged.tags = vec![0x88a8, 0x8100];
        let ether_type: [u8; 2] = if ip[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
        let protocol = if ip[0] >> 4 == 4 { 4 } else { 41 };
        let inside = [
            (17, udp(8472, &joined(&[&[8, 0, 0, 0, 0, 0, 1, 0], &frame]))),
            (17, udp(8472, &joined(&[&[0x88, 0, 0, 0, 0, 0, 1, 0], &tagged.frame()]))),
            (17, udp(4790, &joined(&[&[0x0c, 0, 0, 3, 0, 0, 1, 0], &frame]))),
            (17, udp(4790, &joined(&[&[0x0c, 0, 0, 1, 0, 0, 1, 0], &ip]))),
            (17, udp(6081, &joined(&[&[2, 0, 0x65, 0x58, 0, 0, 1, 0], &[7; 8], &frame]))),
            (17, udp(6081, &joined(&[&[0, 0, ether_type[0], ether_type[1], 0, 0, 1, 0], &ip]))),
            (17, udp(5555, &ip)),
            (47, joined(&[&[0, 0], &ether_type, &ip])),
            (47, joined(&[&[0xb0, 0], &ether_type, &[9; 12], &ip])),
            (47, joined(&[&[0x20, 0, 0x65, 0x58], &[9; 4], &frame])),
            (47, joined(&[&[0x10, 0, 0x88, 0xbe], &[9; 12], &frame])),
            (protocol, ip.clone()),
        ];
        for (protocol, carried) in inside {
            for packet in [v4(protocol, 0, &carried), v4(protocol, 3, &carried), v6(protocol, false, &carried)] {
                assert_opens(&packet, &ip);
            }
            assert_opens(&v6(protocol, true, &carried), &ip);
        }
    }
}

#[test]
fn a_tunnel_inside_of_a_tunnel_is_opened_layer_by_layer() {
    let ip = Spec::v4().ip();
    let mut frame = vec![2; 12];
    frame.extend([0x86, 0xdd]);
    frame.extend(v6(4, true, &ip));
    let packet = v4(17, 0, &udp(8472, &joined(&[&[8, 0, 0, 0, 0, 0, 1, 0], &frame])));
    let (first, _) = open(&packet[..], &known(), ALL_KINDS).expect("the first layer");
    let (second, _) = open(&packet[first..], &known(), ALL_KINDS).expect("the second layer");
    assert_eq!(&packet[first + second..], &ip[..]);
    assert_eq!(open(&ip[..], &known(), ALL_KINDS), None);
}

#[test]
fn echo_one_layer_in_is_read_as_what_it_is() {
    let spec = Spec::v4();
    let frame = spec.frame();
    let vxlan = joined(&[&[8, 0, 0, 0, 0, 0, 1, 0], &frame]);
    let carrier = v4(17, 0, &udp(8472, &vxlan));
    let ethernet = joined(&[&[2; 12], &[0x08, 0x00], &carrier]);
    let read = |bytes: &[u8], link_layer, kinds| parse_inside(bytes, link_layer, (&known(), kinds), |_| true);
    for (bytes, link_layer) in [(&carrier, LinkLayer::RawIp), (&ethernet, LinkLayer::Ethernet)] {
        let before = bytes.len() - frame.len();
        let plain = spec.expected();
        let expected = EchoPacket {
            ip_offset: before + plain.ip_offset,
            icmp_offset: before + plain.icmp_offset,
            is_inner: true,
            ..plain
        };
        assert_eq!(read(bytes, link_layer, ALL_KINDS), Ok(expected));
        assert_eq!(read(bytes, link_layer, 0), Err(Skip::NotEcho));
        assert!(parse(&bytes[..], link_layer).is_err(), "it is no echo by itself");
    }
    assert_eq!(read(&frame, LinkLayer::Ethernet, ALL_KINDS), Err(Skip::NotEcho), "what is not carried is not inside");
}

#[test]
fn a_question_for_a_neighbour_is_found_inside() {
    let mut frame = vec![2; 12];
    frame.extend([8, 6]);
    frame.extend([7; 28]);
    let packet = v4(17, 0, &udp(8472, &joined(&[&[8, 0, 0, 0, 0, 0, 1, 0], &frame])));
    assert_eq!(open(&packet[..], &known(), ALL_KINDS), Some((packet.len() - 28, 0x0806)));
}

#[test]
fn what_is_no_tunnel_of_the_run_or_is_malformed_stays_closed() {
    let (ip, frame) = (Spec::v4().ip(), Spec::v4().frame());
    let vxlan = udp(8472, &joined(&[&[8, 0, 0, 0, 0, 0, 1, 0], &frame]));
    let mut later = v4(17, 0, &vxlan);
    later[7] = 1;
    let mut other = frame.clone();
    (other[12], other[13]) = (8, 7);
    for packet in [
        later,
        v4(6, 0, &vxlan),
        v4(17, 0, &udp(8473, &joined(&[&[8, 0, 0, 0, 0, 0, 1, 0], &frame]))),
        v4(17, 0, &udp(8472, &joined(&[&[0; 8], &frame]))),
        v4(17, 0, &udp(8472, &joined(&[&[8, 0, 0, 0, 0, 0, 1, 0], &other]))),
        v4(17, 0, &udp(4790, &joined(&[&[0x0c, 0, 0, 4, 0, 0, 1, 0], &frame]))),
        v4(17, 0, &udp(6081, &joined(&[&[0x40, 0, 0x65, 0x58, 0, 0, 1, 0], &frame]))),
        v4(47, 0, &joined(&[&[0x40, 0, 8, 0], &ip])),
        v4(47, 0, &joined(&[&[0, 1, 8, 0], &ip])),
        v4(4, 0, &[0x15; 40]),
        v6(58, true, &ip),
    ] {
        assert_eq!(open(&packet[..], &known(), ALL_KINDS), None, "{packet:?}");
    }
}

#[test]
fn the_outer_header_tells_its_addresses_and_its_ttl() {
    let header = outer_header(&v4(17, 0, &[])[..]).expect("a header");
    let bytes = |words: [u64; 2]| -> [u8; 16] { bytemuck::cast(words) };
    assert_eq!((header.ttl, bytes(header.destination)), (63, crate::packet::mapped([192, 168, 6, 2])));
    let OuterHeader { ttl, source, .. } = outer_header(&v6(17, false, &[])[..]).expect("a header");
    assert_eq!((ttl, bytes(source)[0], bytes(source)[15]), (62, 0xfd, 1));
    assert_eq!(outer_header(&[0x60; 39][..]), None);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_read_beyond_them(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), port in 0_usize..4) {
        let mut bytes = bytes;
        if let Some(word) = bytes.get_mut(22..24) {
            word.copy_from_slice(&[8472_u16, 4790, 6081, 5555][port].to_be_bytes());
        }
        for (first, at, protocol) in [(0x45, 9, 17), (0x45, 9, 47), (0x46, 9, 4), (0x60, 6, 17), (0x60, 6, 60), (0x60, 6, 44)] {
            if bytes.len() > at {
                (bytes[0], bytes[at]) = (first, protocol);
            }
            if let Some((at, ether_type)) = open(&bytes[..], &known(), ALL_KINDS) {
                proptest::prop_assert!(at <= bytes.len() && matches!(ether_type, 0x0800 | 0x86dd | 0x0806));
            }
        }
    }
}
