//! What is counted is what was sent, however the programs are attached and however many ids there are.

use std::time::Instant;

use nix::sys::signal::Signal;
use probe_ebpf::{Echo, Family};
use probe_user::traffic::{
    Frame,
    frame::{CUSTOMER_TAG, SERVICE_TAG},
};
use serde_json::Value;

use super::row::{Row, numbers, only, row};
use crate::common::{
    is_root,
    net::{A4, B4, B6, PATIENCE, Pair, V4_BYTES, Wire, eventually, from_b, message, ping, received},
    run::Running,
};

/// Pings B over both IP versions while A's end is observed, and compares with what `ping` itself says.
fn pings_are_counted(test: &str, flags: &str, mode: &str, counted_at: &str) {
    if !is_root(test) {
        return;
    }
    let pair = Pair::new();
    let mut observer = Running::start(&pair.a, &format!("observe -I va -i 0.1 --format json {flags}"));
    let v4 = ping(&pair.a, &B4.to_string(), 10);
    let v6 = ping(&pair.a, &B6.to_string(), 7);
    let replies = |document: &Value, family| numbers(&only(document, family)).entered.1;
    observer.until_last("all replies", |document| (replies(document, 4), replies(document, 6)) == (10, 7));
    let document = observer.end_with(Signal::SIGINT).last();
    assert_eq!((&document["xdp_mode"], &document["counted_at"]), (&mode.into(), &counted_at.into()));
    for (family, count, bytes, target, [min, _, max]) in
        [(4, 10, 84, B4.to_string(), v4), (6, 7, 104, B6.to_string(), v6)]
    {
        let id = only(&document, family);
        assert_eq!(numbers(&id), Row { entered: (0, count), left: (count, 0), ..Row::default() }, "{id}");
        assert_eq!((&id["in"]["bytes"], &id["out"]["bytes"]), (&(count * bytes).into(), &(count * bytes).into()));
        assert_eq!((&id["peer"], &id["pairs"]), (&target.into(), &1.into()));
        // The kernel's round trip is a part of that of ping, which waits to be scheduled; buckets are an eighth wide.
        let (p50, p99) = (&id["rtt_ns"]["p50"].as_f64(), &id["rtt_ns"]["p99"].as_f64());
        let (p50, p99) = (p50.expect("a time"), p99.expect("a time"));
        assert!(1_000.0 < p50 && p50 <= p99 && p99 <= max * 1.125, "{id}, ping: {min} to {max} ns");
    }
    assert_eq!(document["skipped"], serde_json::json!({}));
}

#[test]
fn pings_are_counted_without_any_flag() {
    pings_are_counted("pings_are_counted_without_any_flag", "", "off", "tc_in");
}

#[test]
fn pings_are_counted_at_generic_xdp() {
    pings_are_counted("pings_are_counted_at_generic_xdp", "--xdp generic --tc tcx", "generic", "xdp_in");
}

#[test]
fn pings_are_counted_at_native_xdp() {
    pings_are_counted("pings_are_counted_at_native_xdp", "--xdp native", "native", "xdp_in");
}

#[test]
fn pings_are_counted_at_tcx() {
    pings_are_counted("pings_are_counted_at_tcx", "--xdp off", "off", "tc_in");
}

#[test]
fn pings_are_counted_at_clsact() {
    pings_are_counted("pings_are_counted_at_clsact", "--xdp off --tc clsact", "off", "tc_in");
}

#[test]
fn pings_are_counted_at_xdp_and_clsact() {
    pings_are_counted("pings_are_counted_at_xdp_and_clsact", "--xdp generic --tc clsact", "generic", "xdp_in");
}

#[test]
fn every_one_of_65536_ids_is_counted_exactly() {
    if !is_root("every_one_of_65536_ids_is_counted_exactly") {
        return;
    }
    let pair = Pair::new();
    let wire = Wire::of(&pair.b, "vb");
    let observer = Running::start(&pair.a, "observe -I va -i 3600 --format json");
    for id in 0..=u16::MAX {
        wire.put(&from_b(Echo::Reply, id, id));
        if id % 3 == 0 {
            wire.put(&from_b(Echo::Reply, id, id));
        }
    }
    eventually("all have crossed", || received(&pair.a, "va") >= 65_536 + 21_846);
    let since = Instant::now();
    let ran = observer.end_with(Signal::SIGINT);
    assert!(since.elapsed() < PATIENCE / 2, "the end took {:?}", since.elapsed());
    let document = ran.json();
    assert_eq!(document["ids"].as_array().map(Vec::len), Some(65_536));
    for (expected, id) in (0_u64..).zip(document["ids"].as_array().expect("an array")) {
        let count = 1 + u64::from(expected % 3 == 0);
        assert_eq!((id["id"].as_u64(), numbers(id).entered), (Some(expected), (0, count)));
        assert_eq!(id["in"]["bytes"], count * V4_BYTES);
    }
}

#[test]
fn tagged_frames_are_counted_on_the_interface_beneath() {
    if !is_root("tagged_frames_are_counted_on_the_interface_beneath") {
        return;
    }
    for xdp in ["generic", "native", "off"] {
        let pair = Pair::new();
        let wire = Wire::of(&pair.a, "va");
        let mut observer = Running::start(&pair.b, &format!("observe -I vb -i 0.1 --format json --xdp {xdp}"));
        let echo = |id| Frame::v4(A4, B4, &message(Family::V4, Echo::Reply, id, 1));
        wire.put(&echo(1).vlan(CUSTOMER_TAG, 5).bytes());
        wire.put(&echo(2).vlan(SERVICE_TAG, 5).vlan(CUSTOMER_TAG, 6).bytes());
        let three = echo(3).vlan(CUSTOMER_TAG, 5).vlan(CUSTOMER_TAG, 6).vlan(CUSTOMER_TAG, 7);
        // Before tc the kernel takes the outermost tag off.
        wire.put(&if xdp == "off" { three.vlan(CUSTOMER_TAG, 8) } else { three }.bytes());
        wire.put(&echo(4).bytes());
        observer.until_last("the last frame", |document| row(document, 4).entered == (0, 1));
        let document = observer.end_with(Signal::SIGINT).last();
        assert_eq!([1, 2].map(|id| row(&document, id).entered), [(0, 1), (0, 1)], "{xdp}: {document}");
        assert_eq!(document["skipped"]["too_many_tags"], 1, "{xdp}: {document}");
    }
}

#[test]
fn fragments_count_once_and_the_rest_is_told() {
    if !is_root("fragments_count_once_and_the_rest_is_told") {
        return;
    }
    let pair = Pair::new();
    let mut observer = Running::start(&pair.a, "observe -I va -i 0.1 --format json");
    crate::common::net::sh(&pair.a, &format!("ping -n -q -c 3 -i 0.02 -s 4000 {B4}"));
    let wanted = Row { entered: (0, 3), left: (3, 0), ..Row::default() };
    observer.until_last("three replies", |document| numbers(&only(document, 4)) == wanted);
    let document = observer.end_with(Signal::SIGINT).last();
    // 4008 bytes of ICMP are a first fragment and two later ones, each way.
    assert_eq!(document["skipped"]["later_fragment"], 12, "{document}");
}
