//! Requests without an answer: counted once, exactly, whatever comes later.

use std::{thread, time::Duration};

use nix::sys::signal::Signal;
use probe_ebpf::Echo;

use super::row::{Row, of, row};
use crate::common::{
    is_root,
    net::{Pair, Wire, eventually, from_b, received, sh},
    run::{Running, probe},
};

/// Long enough for several refreshes: what is counted twice would show.
const A_WHILE: Duration = Duration::from_millis(800);

#[test]
fn each_lost_request_is_counted_once() {
    if !is_root("each_lost_request_is_counted_once") {
        return;
    }
    let pair = Pair::new();
    let absorber = Running::start(&pair.b, "receive -I vb -e 7 --absorb");
    let mut observer = Running::start(&pair.a, "observe -I va -i 0.1 -W 0.3 --format json");
    probe(&pair.a, "send request 10.9.0.2 -e 7 -c 25 -i 0.01").done();
    probe(&pair.a, "send request 10.9.0.2 -e 8 -c 5 -i 0.01").done();
    observer.until_last("the loss", |document| row(document, 7).lost == 25);
    thread::sleep(A_WHILE);
    let document = observer.end_with(Signal::SIGINT).last();
    assert_eq!(row(&document, 7), Row { left: (25, 0), lost: 25, ..Row::default() });
    assert_eq!(row(&document, 8), Row { left: (5, 0), entered: (0, 5), ..Row::default() });
    assert!(of(&document, 7, 4)["rtt_ns"].is_null());
    let absorbed = absorber.end_with(Signal::SIGINT);
    assert_eq!(absorbed.stdout.lines().filter(|line| line.ends_with("absorbed")).count(), 25, "{absorbed:?}");
}

#[test]
fn the_same_sequence_number_can_be_lost_more_than_once() {
    if !is_root("the_same_sequence_number_can_be_lost_more_than_once") {
        return;
    }
    let pair = Pair::new();
    pair.nobody_at("10.9.0.77");
    let mut observer = Running::start(&pair.a, "observe -I va -i 0.1 -W 0.3 --format json");
    probe(&pair.a, "send request 10.9.0.77 -e 7 -c 6 -i 0 --same-seq").done();
    observer.until_last("the first loss", |document| row(document, 7).lost == 6);
    probe(&pair.a, "send request 10.9.0.77 -e 7 -c 3 -i 0 --same-seq").done();
    observer.until_last("the second loss", |document| row(document, 7).lost == 9);
    assert_eq!(row(&observer.end_with(Signal::SIGTERM).last(), 7), Row { left: (9, 0), lost: 9, ..Row::default() });
}

#[test]
fn a_late_reply_stays_lost_and_a_duplicate_is_no_second_answer() {
    if !is_root("a_late_reply_stays_lost_and_a_duplicate_is_no_second_answer") {
        return;
    }
    let pair = Pair::new();
    sh(&pair.b, "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all");
    let wire = Wire::of(&pair.b, "vb");
    let mut observer = Running::start(&pair.a, "observe -I va -i 0.1 -W 1 --format json");
    probe(&pair.a, "send request 10.9.0.2 -e 7 --seq 1").done();
    observer.until_last("the loss", |document| row(document, 7).lost == 1);
    wire.put(&from_b(Echo::Reply, 7, 1));
    probe(&pair.a, "send request 10.9.0.2 -e 8 --seq 5").done();
    for _ in 0..3 {
        wire.put(&from_b(Echo::Reply, 8, 5));
    }
    observer.until_last("the replies", |document| row(document, 8).entered == (0, 3));
    thread::sleep(A_WHILE);
    let document = observer.end_with(Signal::SIGINT).last();
    assert_eq!(row(&document, 7), Row { left: (1, 0), entered: (0, 1), lost: 1, ..Row::default() });
    assert!(of(&document, 7, 4)["rtt_ns"].is_null(), "a late reply is no round trip: {document}");
    assert_eq!(row(&document, 8), Row { left: (1, 0), entered: (0, 3), ..Row::default() });
    let rtt = &of(&document, 8, 4)["rtt_ns"];
    assert!(rtt["p50"].as_u64().is_some_and(|time| time < 1_000_000_000), "{document}");
}

#[test]
fn requests_that_enter_and_get_no_answer_are_lost_too() {
    if !is_root("requests_that_enter_and_get_no_answer_are_lost_too") {
        return;
    }
    let pair = Pair::new();
    sh(&pair.a, "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all");
    let mut observer = Running::start(&pair.a, "observe -I va -i 0.1 -W 0.2 --format json");
    let wire = Wire::of(&pair.b, "vb");
    for seq in 0..4 {
        wire.put(&from_b(Echo::Request, 9, seq));
    }
    observer.until_last("the loss", |document| row(document, 9).lost == 4);
    let document = observer.end_with(Signal::SIGINT).last();
    assert_eq!(row(&document, 9), Row { entered: (4, 0), lost: 4, ..Row::default() });
    assert_eq!(of(&document, 9, 4)["peer"], "10.9.0.2");
}

#[test]
fn more_requests_than_can_be_followed_are_told() {
    if !is_root("more_requests_than_can_be_followed_are_told") {
        return;
    }
    let pair = Pair::new();
    sh(&pair.a, "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all");
    // Nothing is taken out of the table before the end.
    let observer = Running::start(&pair.a, "observe -I va -i 60 -W 600 --format json");
    let wire = Wire::of(&pair.b, "vb");
    for id in 0..=u16::MAX {
        wire.put(&from_b(Echo::Request, id, 1));
    }
    for id in 0..100 {
        wire.put(&from_b(Echo::Request, id, 2));
    }
    eventually("all have crossed", || received(&pair.a, "va") >= 65_636);
    let document = observer.end_with(Signal::SIGINT).last();
    let ids = document["ids"].as_array().expect("an array");
    let entered: u64 = ids.iter().map(|id| super::row::numbers(id).entered.0).sum();
    assert_eq!((ids.len(), entered), (65_536, 65_636));
    // The kernel decides the table's exact size: flows that did not fit are reported, and counted as requests all the same.
    assert!(document["skipped"]["pending_full"].as_u64().is_some_and(|count| count >= 100), "{}", document["skipped"]);
}
