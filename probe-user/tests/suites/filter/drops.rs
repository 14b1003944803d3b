//! Exactly what matches is dropped, and everything else arrives.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use probe_ebpf::{Direction, Echo, Family, Rule, filter::ASKS_SEQ};
use probe_user::{
    ebpf::pins::{Changing, Pinned},
    filter::rules::RulePosition,
    host::device::Device,
};

use super::host::{Packet, expect_bare, hits, list, numbers, replies, send};
use crate::common::{
    is_root,
    net::{PATIENCE, Pair, Wire, eventually, own_bpffs},
    run::probe,
};

/// Whether a rule matches a packet.
type Matches = fn(&Packet) -> bool;

/// Packets of every kind with ids from 1 to 10, a hundred of each id.
fn all_kinds() -> Vec<Packet> {
    let kinds = [
        (Family::V4, Echo::Request),
        (Family::V4, Echo::Reply),
        (Family::V6, Echo::Request),
        (Family::V6, Echo::Reply),
    ];
    let of_id = |id| kinds.into_iter().map(move |(family, echo)| Packet { family, echo, id });
    (0..25).flat_map(|_| (1..=10).flat_map(of_id)).collect()
}

#[test]
fn of_a_thousand_packets_exactly_those_that_match_are_dropped() {
    if !is_root("of_a_thousand_packets_exactly_those_that_match_are_dropped") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let packets = all_kinds();
    assert_eq!(packets.len(), 1_000);
    let cases: [(&str, Matches); 8] = [
        ("-e 7", |packet| packet.id == 7),
        ("-e 0x3-5", |packet| (3..=5).contains(&packet.id)),
        ("-e 7 --type request", |packet| packet.id == 7 && packet.echo == Echo::Request),
        ("-e 2-9 --type reply", |packet| (2..=9).contains(&packet.id) && packet.echo == Echo::Reply),
        ("-e 1-4 -4", |packet| packet.id <= 4 && packet.family == Family::V4),
        ("-e 10 -6 --type reply --xdp generic", |packet| {
            (packet.id, packet.family, packet.echo) == (10, Family::V6, Echo::Reply)
        }),
        ("--all-echo", |_| true),
        ("--all-echo -6 --xdp generic", |packet| packet.family == Family::V6),
    ];
    for (flags, matches) in cases {
        let added = super::host::rules(&probe(&pair.b, &format!("filter add -I vb {flags} --format json")).done());
        assert_eq!((numbers(&added), added[0]["hits"].as_u64()), (vec![1], Some(0)), "{flags}");
        let expected = packets.iter().filter(|packet| matches(packet)).count() as u64;
        assert!(expected > 0, "{flags}");
        send(&pair, &packets, expected);
        let mode = if flags.contains("generic") { "generic" } else { "native" };
        assert_eq!(list(&pair.b)[0]["xdp_mode"], mode, "{flags}");
        probe(&pair.b, "filter clear").done();
        expect_bare(&pair.b, "vb");
        send(&pair, &packets[..40], 0);
    }
}

#[test]
fn the_first_rule_that_matches_holds() {
    if !is_root("the_first_rule_that_matches_holds") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    probe(&pair.b, "filter add -I vb -e 7 --type reply").done();
    probe(&pair.b, "filter add -I vb -e 5-9").done();
    probe(&pair.b, "filter add -I vb --all-echo").done();
    let each = [replies(7, 10), replies(8, 20), replies(99, 30)].concat();
    send(&pair, &each, 60);
    let hits_of = || list(&pair.b).iter().map(|rule| rule["hits"].as_u64().expect("a count")).collect::<Vec<_>>();
    assert_eq!(hits_of(), [10, 20, 30]);
    probe(&pair.b, "filter remove 1").done();
    send(&pair, &each, 60);
    assert_eq!(hits_of(), [20 + 30, 30 + 30], "what the first had dropped is now the second's");
    probe(&pair.b, "filter remove 3").done();
    send(&pair, &each, 30);
    assert_eq!(hits_of(), [50 + 30]);
}

#[test]
fn a_rule_ends_in_the_kernel_though_no_probe_runs() {
    if !is_root("a_rule_ends_in_the_kernel_though_no_probe_runs") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let since = std::time::Instant::now();
    probe(&pair.b, "filter add -I vb -e 8").done();
    let added = probe(&pair.b, "filter add -I vb -e 7 --for 3 --format json").done();
    assert_eq!(super::host::rules(&added)[0]["expires_in_s"], 3);
    let wire = Wire::of(&pair.a, "va");
    // A slow machine may need more than the three seconds until here; then there is nothing left to see of it.
    if since.elapsed().as_millis() < 1_500 {
        send(&pair, &replies(7, 10), 10);
    }
    let before = super::host::arrived(&pair.b);
    eventually("it has ended", || {
        wire.put(&replies(7, 1)[0].bytes());
        super::host::arrived(&pair.b) > before
    });
    assert!(since.elapsed().as_secs_f64() >= 2.9, "it ended after {:?}", since.elapsed());
    assert!(since.elapsed() < PATIENCE);
    eventually("list knows", || list(&pair.b)[1]["expires_in_s"] == 0);
    let text = probe(&pair.b, "filter list").done().stdout;
    assert!(text.contains("has ended") && text.contains("a rule that has ended drops nothing"), "{text}");
    let counted = hits(&pair.b);
    send(&pair, &replies(7, 5), 0);
    send(&pair, &replies(8, 5), 5);
    assert_eq!(hits(&pair.b), counted + 5);
    // The next rule takes the place of the one that has ended, under a number of its own.
    probe(&pair.b, "filter add -I vb -e 9").done();
    assert_eq!(numbers(&list(&pair.b)), [1, 3]);
}

#[test]
fn a_rule_holds_while_another_observes_receives_and_removes() {
    if !is_root("a_rule_holds_while_another_observes_receives_and_removes") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    probe(&pair.b, "filter add -I vb -e 7").done();
    let receiver = crate::common::run::Running::start(&pair.b, "receive -I vb -e 8 --absorb --format json");
    assert!(receiver.stderr().contains("vb (tc ingress: XDP is taken by XDP program"), "{}", receiver.stderr());
    send(&pair, &replies(7, 10), 10);
    drop(receiver);
    probe(&pair.b, "observe -I vb --once -i 0.05").done();
    send(&pair, &replies(7, 10), 10);
}

/// Adds and removes a rule in turn, this many times, in the network namespace of this thread.
fn change(times: usize) {
    let device = Device::find("vb").expect("vb");
    for round in 0..times {
        let changing = Changing::begin().expect("the lock");
        let pinned = Pinned::open(&device, Direction::In).expect("it can be read").expect("it is there");
        let mut set = pinned.set().expect("it can be read");
        if round % 2 == 0 {
            // Each second one needs more of the program than the first rule does.
            let asks = if round % 4 == 0 { ASKS_SEQ } else { 0 };
            let rule = Rule { id_last: u16::MAX, kinds: 0b1111, asks, ..Rule::default() };
            let slot = set.insert(rule, RulePosition::Last, 0).expect("room");
            pinned.change(&device, &set, &[slot], &changing).expect("it is taken");
        } else {
            let (slot, _) = set.find(set.last_number).expect("it was added");
            set.remove(&[slot]);
            pinned.change(&device, &set, &[], &changing).expect("it is taken");
        }
    }
}

#[test]
fn nothing_passes_while_rules_come_and_go() {
    if !is_root("nothing_passes_while_rules_come_and_go") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    for (place, times) in [("--xdp native", 100), ("--xdp generic", 5), ("--hook tc", 5), ("--hook tc --tc clsact", 5)]
    {
        probe(&pair.b, &format!("filter add -I vb --type reply {place}")).done();
        let wire = Wire::of(&pair.a, "va");
        let before = super::host::arrived(&pair.b);
        let (over, packet) = (AtomicBool::new(false), replies(7, 1)[0].bytes());
        let sent = std::thread::scope(|scope| {
            let flood = scope.spawn(|| {
                let mut sent = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    (0..100).for_each(|_| wire.put(&packet));
                    sent += 100;
                    // A machine that does nothing but drop does not get to the next change.
                    std::thread::sleep(Duration::from_millis(1));
                }
                sent
            });
            let changed = pair.b.run(|| change(times));
            over.store(true, Ordering::Relaxed);
            changed.expect("the namespace is there");
            flood.join().expect("it floods")
        });
        assert!(sent > 1_000, "{sent} is no flood");
        eventually(&format!("all {sent} are dropped and noted: {place}"), || hits(&pair.b) == sent);
        assert_eq!(super::host::arrived(&pair.b), before, "the first rule held all the time: {place}");
        probe(&pair.b, "filter clear").done();
    }
}
