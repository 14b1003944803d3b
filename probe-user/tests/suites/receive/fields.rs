//! Each field is the packet's, whatever the packet is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use probe_ebpf::{Echo, Family, Kind};
use probe_user::traffic::{
    EchoMessage, Frame,
    frame::{CUSTOMER_TAG, Rest, SERVICE_TAG},
    packet::counting_payload,
};
use serde_json::{Value, json};

use crate::common::{
    is_root,
    net::{A4, A6, B4, B6, Pair, Wire, from_a, message, sh},
    run::{Running, probe},
};

/// What `probe receive` with these flags on `vb` says of each frame that is put on its wire.
fn read(pair: &Pair, flags: &str, frames: &[Vec<u8>]) -> Vec<Value> {
    let receiver = Running::start(&pair.b, &format!("receive -I vb --format json -c {} {flags}", frames.len()));
    let wire = Wire::of(&pair.a, "va");
    for frame in frames {
        wire.put(frame);
    }
    receiver.wait().done().documents()
}

fn fields(document: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| document[*name].clone()).collect()
}

#[test]
fn every_field_is_the_packets() {
    if !is_root("every_field_is_the_packets") {
        return;
    }
    let pair = Pair::new();
    let of = |family, echo, id, seq, payload| EchoMessage::new(Kind { family, echo }, id, seq, payload);
    let frames = [
        Frame::v4(A4, B4, &of(Family::V4, Echo::Request, 7, 1, b"")).ttl(1).bytes(),
        Frame::v4(A4, B4, &of(Family::V4, Echo::Reply, 0xffff, 0xffff, b"0123456").code(3)).options(&[1, 1, 1]).bytes(),
        Frame::v6(A6, B6, &of(Family::V6, Echo::Request, 8, 2, b"odd")).ttl(255).hop_by_hop(&[1, 0]).bytes(),
        Frame::v6(A6, B6, &of(Family::V6, Echo::Reply, 9, 3, b"even").code(200)).destination(&[1, 2, 0, 0]).bytes(),
        Frame::v4([0, 0, 0, 0].into(), [255; 4].into(), &of(Family::V4, Echo::Request, 0, 0, b"?")).bytes(),
    ];
    for flags in ["", "--xdp native", "--xdp off"] {
        let before = SystemTime::now();
        let seen = read(&pair, flags, &frames);
        let names = ["kind", "type", "code", "id", "seq", "ttl", "payload_bytes"];
        let told: Vec<Value> = seen.iter().map(|document| fields(document, &names)).collect();
        let wanted = [
            json!(["request", 8, 0, 7, 1, 1, 0]),
            json!(["reply", 0, 3, 65535, 65535, 64, 7]),
            json!(["request", 128, 0, 8, 2, 255, 3]),
            json!(["reply", 129, 200, 9, 3, 64, 4]),
            json!(["request", 8, 0, 0, 0, 64, 1]),
        ];
        assert_eq!(told, wanted, "{flags}");
        let ends = seen.iter().map(|document| fields(document, &["source", "destination"]));
        let (v4, v6) = (json!(["10.9.0.1", "10.9.0.2"]), json!(["fd09::1", "fd09::2"]));
        assert!(ends.eq([v4.clone(), v4, v6.clone(), v6, json!(["0.0.0.0", "255.255.255.255"])]), "{flags}");
        for document in &seen {
            let rest = fields(document, &["schema", "interface", "checksum", "absorbed"]);
            assert_eq!(rest, json!(["probe.echo/1", "vb", "good", false]), "{flags}: {document}");
            let time = UNIX_EPOCH + Duration::from_nanos(document["time_ns"].as_u64().expect("a time"));
            // Two clocks are read, so that a moment before the start is no error.
            assert!(before < time + Duration::from_millis(50) && time <= SystemTime::now(), "{document}");
        }
    }
}

#[test]
fn one_flipped_bit_makes_a_checksum_bad() {
    if !is_root("one_flipped_bit_makes_a_checksum_bad") {
        return;
    }
    let pair = Pair::new();
    let v6 = Frame::v6(A6, B6, &message(Family::V6, Echo::Request, 8, 1)).bytes();
    let flipped = |mut frame: Vec<u8>| {
        *frame.last_mut().expect("bytes") ^= 0x10;
        frame
    };
    let v4 = from_a(Echo::Request, 7, 1);
    for flags in ["", "--xdp off"] {
        let seen = read(&pair, flags, &[flipped(v4.clone()), v4.clone(), flipped(v6.clone()), v6.clone()]);
        let sums: Vec<_> = seen.iter().map(|document| document["checksum"].clone()).collect();
        assert_eq!(sums, ["bad", "good", "bad", "good"], "{flags}");
    }
    let receiver = Running::start(&pair.b, "receive -I vb -c 1");
    Wire::of(&pair.a, "va").put(&flipped(v4));
    let ran = receiver.wait().done();
    let line = "vb request 10.9.0.1 -> 10.9.0.2  id 7 (0x7) seq 1 ttl 64 payload 16 bytes  checksum bad\n";
    assert!(ran.stdout.ends_with(line) && ran.stdout.lines().count() == 1, "{ran:?}");
}

#[test]
fn tags_do_not_hide_a_packet() {
    if !is_root("tags_do_not_hide_a_packet") {
        return;
    }
    let pair = Pair::new();
    let echo = |id| Frame::v4(A4, B4, &message(Family::V4, Echo::Request, id, 1));
    let frames = [
        echo(1).vlan(CUSTOMER_TAG, 5).bytes(),
        echo(2).vlan(SERVICE_TAG, 5).vlan(CUSTOMER_TAG, 6).bytes(),
        echo(3).bytes(),
    ];
    for flags in ["", "--xdp native", "--xdp off"] {
        let seen = read(&pair, flags, &frames);
        let told: Vec<_> = seen.iter().map(|document| fields(document, &["id", "checksum", "source"])).collect();
        let wanted = [1, 2, 3].map(|id| json!([id, "good", "10.9.0.1"]));
        assert_eq!(told, wanted, "{flags}");
    }
}

#[test]
fn large_packets_are_whole_and_fragments_say_that_they_are_not() {
    if !is_root("large_packets_are_whole_and_fragments_say_that_they_are_not") {
        return;
    }
    let pair = Pair::new();
    sh(&pair.a, "ip link set va mtu 9000");
    sh(&pair.b, "ip link set vb mtu 9000");
    let payload = counting_payload(8_900);
    let large = EchoMessage::new(Kind { family: Family::V4, echo: Echo::Request }, 7, 1, &payload);
    let first = Frame::v4(A4, B4, &message(Family::V4, Echo::Request, 8, 1)).fragment(0, Rest::Follows);
    for flags in ["", "--xdp off"] {
        let seen = read(&pair, flags, &[Frame::v4(A4, B4, &large).bytes(), first.bytes()]);
        let told: Vec<_> = seen.iter().map(|document| fields(document, &["id", "payload_bytes", "checksum"])).collect();
        assert_eq!(told, [json!([7, 8900, "good"]), json!([8, 16, "unknown"])], "{flags}");
    }
}

#[test]
fn of_a_packet_in_fragments_the_first_is_printed_and_the_rest_is_told() {
    if !is_root("of_a_packet_in_fragments_the_first_is_printed_and_the_rest_is_told") {
        return;
    }
    let pair = Pair::new();
    let mut receiver = Running::start(&pair.b, "receive -I vb");
    probe(&pair.a, "send request 10.9.0.2 -e 7 -s 4000").done();
    receiver.until("the first fragment", |stdout, _| stdout.contains("checksum unknown"));
    let ran = receiver.end_with(Signal::SIGINT);
    assert_eq!((ran.code, ran.stdout.lines().count()), (130, 1), "{ran:?}");
    assert!(ran.stderr.contains("vb: 2 packets not printed: later fragments have no ICMP header"), "{ran:?}");
}
