//! Which packets of which interfaces are printed, and how many.

use nix::sys::signal::Signal;
use probe_ebpf::{Echo, Family};
use probe_user::traffic::Frame;
use serde_json::Value;

use crate::common::{
    is_root,
    net::{A6, B6, Pair, Wire, from_a, message, sh},
    run::{Ran, Running, probe},
};

fn told(ran: &Ran, field: &str) -> Vec<Value> {
    ran.documents().iter().map(|document| document[field].clone()).collect()
}

#[test]
fn only_the_chosen_ids_and_ip_version_are_printed() {
    if !is_root("only_the_chosen_ids_and_ip_version_are_printed") {
        return;
    }
    let pair = Pair::new();
    let wire = Wire::of(&pair.a, "va");
    for (flags, wanted) in
        [("-e 3 -e 0x10-0x11", vec![3, 3, 16, 16, 17, 17]), ("-4 -e 5-7", vec![5, 6, 7]), ("-6", (0..20).collect())]
    {
        let mut receiver = Running::start(&pair.b, &format!("receive -I vb --format json {flags}"));
        for id in 0..20 {
            wire.put(&from_a(Echo::Reply, id, 1));
            wire.put(&Frame::v6(A6, B6, &message(Family::V6, Echo::Reply, id, 1)).bytes());
        }
        receiver.until("all of them", |stdout, _| stdout.lines().count() == wanted.len());
        let mut ids: Vec<u64> =
            told(&receiver.end_with(Signal::SIGINT), "id").iter().filter_map(Value::as_u64).collect();
        ids.sort_unstable();
        assert_eq!(ids, wanted, "{flags}");
    }
}

#[test]
fn it_stops_after_so_many_packets_or_seconds() {
    if !is_root("it_stops_after_so_many_packets_or_seconds") {
        return;
    }
    let pair = Pair::new();
    let receiver = Running::start(&pair.b, "receive -I vb -c 5 --format json");
    let wire = Wire::of(&pair.a, "va");
    for seq in 0..50 {
        wire.put(&from_a(Echo::Reply, 7, seq));
    }
    assert_eq!(told(&receiver.wait().done(), "seq"), [0, 1, 2, 3, 4]);
    let nothing = probe(&pair.b, "receive -I vb -W 0.2 -q").done();
    assert_eq!((nothing.stdout.as_str(), nothing.stderr.as_str()), ("", ""));
}

#[test]
fn without_a_choice_every_interface_that_is_up_is_read_and_one_that_goes_is_told() {
    if !is_root("without_a_choice_every_interface_that_is_up_is_read_and_one_that_goes_is_told") {
        return;
    }
    let pair = Pair::new();
    sh(
        &pair.b,
        "ip link add down type veth peer name down2; ip link add x type veth peer name y; ip link set x up; ip link set y up",
    );
    let mut receiver = Running::start(&pair.b, "receive --format json");
    assert!(receiver.stderr().contains("reading lo (XDP generic), vb (XDP generic), "), "{}", receiver.stderr());
    assert!(!receiver.stderr().contains("down"), "{}", receiver.stderr());
    Wire::of(&pair.a, "va").put(&from_a(Echo::Reply, 7, 1));
    Wire::of(&pair.b, "x").put(&from_a(Echo::Reply, 8, 1));
    receiver.until("both", |stdout, _| stdout.lines().count() == 2);
    sh(&pair.b, "ip link del x");
    receiver.until("both are told", |_, stderr| stderr.matches("is gone: continuing without it").count() == 2);
    probe(&pair.b, "send request 127.0.0.1 -e 9").done();
    receiver.until("loopback is still read", |stdout, _| stdout.lines().count() == 4);
    let ran = receiver.end_with(Signal::SIGINT);
    assert_eq!(told(&ran, "interface"), ["vb", "y", "lo", "lo"]);
    assert_eq!(ran.code, 130);
}

#[test]
fn an_interface_named_twice_is_read_once() {
    if !is_root("an_interface_named_twice_is_read_once") {
        return;
    }
    let pair = Pair::new();
    let mut receiver = Running::start(&pair.b, "receive -I vb -I lo -I vb --format json");
    Wire::of(&pair.a, "va").put(&from_a(Echo::Reply, 7, 1));
    probe(&pair.b, "send reply 127.0.0.1 -e 9").done();
    receiver.until("the second", |stdout, _| stdout.contains("\"id\":9"));
    assert_eq!(told(&receiver.end_with(Signal::SIGINT), "id"), [7, 9]);
}

#[test]
fn very_verbose_shows_what_the_kernel_program_logs() {
    if !is_root("very_verbose_shows_what_the_kernel_program_logs") {
        return;
    }
    let pair = Pair::new();
    let mut receiver = Running::start(&pair.b, "receive -I vb -vv");
    Wire::of(&pair.a, "va").put(&from_a(Echo::Reply, 7, 3));
    receiver.until("the line", |_, stderr| stderr.contains("xdp_in: type 0 id 7 seq 3"));
}
