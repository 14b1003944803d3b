//! How it ends, what it tells of what it could not print, and what is left: nothing.

use std::process::Stdio;

use nix::sys::signal::Signal;
use probe_ebpf::Echo;

use crate::common::{
    is_root,
    net::{Pair, Wire, eventually, from_a, programs, received, sh},
    run::{Ran, Running, command, probe},
};

#[test]
fn what_came_too_fast_is_told_to_the_packet() {
    if !is_root("what_came_too_fast_is_told_to_the_packet") {
        return;
    }
    const SENT: u64 = 20_000;
    let pair = Pair::new();
    let wire = Wire::of(&pair.a, "va");
    for flags in ["", "--xdp off -q"] {
        let mut receiver = Running::of(command(&pair.b, &format!("receive -I vb --format json {flags}")));
        // Under -q it does not say when it is ready.
        eventually("it is attached", || programs(&pair.b, "vb").len() == 1);
        wire.put(&from_a(Echo::Reply, 1, 1));
        receiver.until("the first", |stdout, _| stdout.lines().count() == 1);
        // A reader that does not get the processor for a while.
        receiver.signal(Signal::SIGSTOP);
        let before = received(&pair.b, "vb");
        for seq in (0..=u16::MAX).take(SENT as usize) {
            wire.put(&from_a(Echo::Reply, 7, seq));
        }
        eventually("all have arrived", || received(&pair.b, "vb") >= before + SENT);
        receiver.signal(Signal::SIGCONT);
        let ran = receiver.end_with(Signal::SIGINT);
        assert_eq!(ran.code, 130);
        let printed = ran.stdout.lines().count() as u64 - 1;
        let told = ran.stderr.lines().find_map(|line| {
            line.split_once("vb: ")?
                .1
                .strip_suffix(" packets not printed: too fast for this terminal or disk (ring_full)")
        });
        let told: u64 = told.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{}", ran.stderr));
        assert!(printed > 1_000 && told > 1_000, "{printed} {told}");
        assert_eq!(printed + told, SENT, "{flags}");
    }
}

#[test]
fn signals_end_it_and_leave_nothing() {
    if !is_root("signals_end_it_and_leave_nothing") {
        return;
    }
    let pair = Pair::new();
    for (signal, flags, code) in [
        (Signal::SIGINT, "", 130),
        (Signal::SIGTERM, "-e 7 --absorb", 130),
        (Signal::SIGHUP, "--xdp off --tc clsact", 130),
        (Signal::SIGKILL, "--xdp off", 137),
    ] {
        let receiver = Running::start(&pair.b, &format!("receive -I vb {flags}"));
        assert_eq!(programs(&pair.b, "vb").len(), 1, "{flags}");
        assert_eq!(receiver.end_with(signal).code, code, "{flags}");
        eventually("it is gone", || programs(&pair.b, "vb").is_empty());
        assert!(!sh(&pair.b, "tc qdisc show dev vb").contains("clsact"), "{flags}");
    }
}

#[test]
fn an_interface_that_was_named_and_goes_away_ends_it() {
    if !is_root("an_interface_that_was_named_and_goes_away_ends_it") {
        return;
    }
    let pair = Pair::new();
    let receiver = Running::start(&pair.b, "receive -I vb -I lo --format json");
    Wire::of(&pair.a, "va").put(&from_a(Echo::Reply, 7, 1));
    sh(&pair.b, "ip link del vb");
    let ran = receiver.wait();
    let documents = ran.documents();
    assert_eq!((ran.code, documents.len()), (2, 2), "{ran:?}");
    assert_eq!((&documents[0]["id"], &documents[1]["error"]), (&7.into(), &"the interface vb is gone".into()));
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    if !is_root("a_reader_that_goes_away_ends_it") {
        return;
    }
    let pair = Pair::new();
    let wire = Wire::of(&pair.a, "va");
    let mut receiver = command(&pair.b, "receive -I vb --xdp off --tc clsact -q");
    let mut child = receiver.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    eventually("it has ended", || {
        wire.put(&from_a(Echo::Reply, 7, 1));
        child.try_wait().expect("it is our child").is_some()
    });
    let ran = Ran::of(child.wait_with_output().expect("it has ended"));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert!(programs(&pair.b, "vb").is_empty() && !sh(&pair.b, "tc qdisc show dev vb").contains("clsact"));
}

#[test]
fn more_ids_than_there_is_room_for_are_refused() {
    if !is_root("more_ids_than_there_is_room_for_are_refused") {
        return;
    }
    let pair = Pair::new();
    let ids: String = (1..=257).map(|id| format!(" -e {id}")).collect();
    let ran = probe(&pair.b, &format!("receive -I vb{ids}"));
    assert_eq!(ran.code, 2);
    let told =
        "probe: --id was given 257 times; at most 256 are possible — combine ids into ranges, as in -e 100-199\n";
    assert_eq!(ran.stderr, told);
    let ids: String = (1..=256).map(|id| format!(" -e {id}")).collect();
    probe(&pair.b, &format!("receive -I vb -W 0.05{ids}")).done();
}
