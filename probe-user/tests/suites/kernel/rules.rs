//! Each condition and each action of a rule, at each hook: exactly which packets are dropped, and what is noted.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    thread,
    time::Instant,
};

use probe_ebpf::{
    Hop, Kind, Rule,
    filter::{ASKS_DESTINATION, ASKS_PAYLOAD, ASKS_SEQ, ASKS_SOURCE, DRY_RUN, MAX_RULES},
};
use probe_user::{
    clock::monotonic_ns,
    filter::rules::{
        RuleAction, RulePosition, RuleSet,
        action::{Probability, Rate},
    },
    model::prefix::Prefix,
    traffic::{EchoMessage, Frame},
};

use super::{
    loaded::{ALL_HOPS, Action, Loaded},
    ready::ready,
    samples::{REPLY, REPLY6, REQUEST, REQUEST6, v4, v6},
};

/// A rule for every echo packet.
const ALL: Rule = Rule { id_last: u16::MAX, kinds: 0b1111, ..NOTHING };
const NOTHING: Rule = Rule {
    deadline_ns: 0,
    added_unix_s: 0,
    amount: 0,
    burst_ns: 0,
    source: NOWHERE,
    destination: NOWHERE,
    added_by_uid: 0,
    number: 0,
    place: 0,
    next: 0,
    kinds: 0,
    asks: 0,
    action: 0,
    id_first: 0,
    id_last: 0,
    seq_first: 0,
    seq_last: 0,
    payload_first: 0,
    payload_last: 0,
};
const NOWHERE: probe_ebpf::filter::AddressMask = probe_ebpf::filter::AddressMask { address: [0; 2], mask: [0; 2] };

fn set(rules: &[Rule]) -> RuleSet {
    let mut set = RuleSet::default();
    for rule in rules {
        set.insert(*rule, RulePosition::Last, monotonic_ns()).expect("there is room");
    }
    set
}

fn with(action: RuleAction) -> Rule {
    let mut rule = ALL;
    action.write(&mut rule);
    rule
}

/// How many of `count` runs of the same frame are dropped.
fn drops(loaded: &Loaded, hop: Hop, count: usize) -> usize {
    let frame = v4(REQUEST, 7, 1, b"").bytes();
    (0..count).filter(|_| loaded.run(hop, &frame) == Action::Drop).count()
}

#[test]
fn every_condition_holds_from_its_first_to_its_last_value() {
    if !ready("every_condition_holds_from_its_first_to_its_last_value") {
        return;
    }
    let (seqs, sizes) =
        (Rule { seq_first: 5, seq_last: 9, ..ALL }, Rule { payload_first: 16, payload_last: 56, ..ALL });
    for hop in ALL_HOPS {
        for kind in Kind::ALL {
            let frame = |seq, payload: usize| match kind {
                REQUEST | REPLY => v4(kind, 7, seq, &vec![0; payload]).bytes(),
                _ => v6(kind, 7, seq, &vec![0; payload]).bytes(),
            };
            let (loaded, _) = Loaded::filtering(hop, &set(&[Rule { asks: ASKS_SEQ, ..seqs }]));
            for (seq, holds) in [(0, false), (4, false), (5, true), (9, true), (10, false), (u16::MAX, false)] {
                assert_eq!(loaded.run(hop, &frame(seq, 0)) == Action::Drop, holds, "seq {seq} at {}", hop.name());
            }
            let (loaded, _) = Loaded::filtering(hop, &set(&[Rule { asks: ASKS_PAYLOAD, ..sizes }]));
            for (size, holds) in [(0, false), (15, false), (16, true), (56, true), (57, false), (1400, false)] {
                assert_eq!(loaded.run(hop, &frame(5, size)) == Action::Drop, holds, "{size} bytes at {}", hop.name());
            }
        }
    }
}

#[test]
fn a_prefix_holds_for_the_addresses_in_it_in_every_wrapping() {
    if !ready("a_prefix_holds_for_the_addresses_in_it_in_every_wrapping") {
        return;
    }
    let prefix = |text: &str| text.parse::<Prefix>().expect("a prefix");
    let from = |text: &str| Rule { asks: ASKS_SOURCE, source: prefix(text).mask(), kinds: 0b0011, ..ALL };
    let to6 = |text: &str| Rule { asks: ASKS_DESTINATION, destination: prefix(text).mask(), kinds: 0b1100, ..ALL };
    for hop in ALL_HOPS {
        let (loaded, _) = Loaded::filtering(hop, &set(&[from("192.0.2.128/25"), to6("fd00:1::/32")]));
        for (last, holds) in [(127, false), (128, true), (255, true)] {
            let ends = (Ipv4Addr::new(192, 0, 2, last), Ipv4Addr::new(192, 0, 2, 200));
            let frame = Frame::v4(ends.0, ends.1, &EchoMessage::new(REPLY, 7, 1, b""));
            let tagged =
                Frame::v4(ends.0, ends.1, &EchoMessage::new(REPLY, 7, 1, b"")).options(&[1; 8]).vlan(0x8100, 3);
            for bytes in [frame.bytes(), tagged.bytes()] {
                assert_eq!(loaded.run(hop, &bytes) == Action::Drop, holds, "{} at {}", ends.0, hop.name());
            }
        }
        for (third, holds) in [(0, false), (1, true), (2, false)] {
            let ends = [0, third].map(|third| Ipv6Addr::new(0xfd00, third, 0, 0, 0, 0, 0, 1));
            let frame = Frame::v6(ends[0], ends[1], &EchoMessage::new(REPLY6, 7, 1, b"")).hop_by_hop(&[]);
            assert_eq!(loaded.run(hop, &frame.bytes()) == Action::Drop, holds, "{} at {}", ends[1], hop.name());
        }
    }
}

#[test]
fn every_action_drops_exactly_those_that_it_says() {
    if !ready("every_action_drops_exactly_those_that_it_says") {
        return;
    }
    let cases = [
        (RuleAction::Drop, 1000),
        (RuleAction::Pass, 0),
        (RuleAction::Every(1), 1000),
        (RuleAction::Every(3), 333),
        (RuleAction::Every(1001), 0),
        (RuleAction::First(10), 10),
        (RuleAction::After(10), 990),
        (RuleAction::Chance("1".parse::<Probability>().expect("certain")), 1000),
    ];
    for hop in ALL_HOPS {
        for (action, expected) in cases {
            for asks in [0, DRY_RUN] {
                let (loaded, rules) = Loaded::filtering(hop, &set(&[Rule { asks, ..with(action) }]));
                let dropped = drops(&loaded, hop, 1000);
                assert_eq!(dropped, if asks == 0 { expected } else { 0 }, "{action:?} at {}", hop.name());
                let stats = rules.stats(0).expect("it can be read");
                let noted = (stats.chosen.packets as usize, stats.passed as usize);
                assert_eq!(noted, (expected, 1000 - expected), "{action:?} at {}", hop.name());
                let really: u64 = loaded.dropped().values().map(|tally| tally.kinds[0].packets).sum();
                assert_eq!(really as usize, dropped);
            }
        }
    }
}

#[test]
fn every_third_means_the_third_the_sixth_and_so_on() {
    if !ready("every_third_means_the_third_the_sixth_and_so_on") {
        return;
    }
    let (loaded, _) = Loaded::filtering(Hop::XdpIn, &set(&[with(RuleAction::Every(3))]));
    let fates: Vec<usize> = (0..7).map(|_| drops(&loaded, Hop::XdpIn, 1)).collect();
    assert_eq!(fates, [0, 0, 1, 0, 0, 1, 0]);
}

#[test]
fn a_probability_is_met_as_chance_has_it() {
    if !ready("a_probability_is_met_as_chance_has_it") {
        return;
    }
    let action = RuleAction::Chance("0.25".parse().expect("a probability"));
    let (loaded, _) = Loaded::filtering(Hop::XdpIn, &set(&[with(action)]));
    // 2,500 expected, with a standard deviation of 43: eight of them happen once in 10^15 runs.
    let dropped = drops(&loaded, Hop::XdpIn, 10_000);
    assert!((2_500 - 347..=2_500 + 347).contains(&dropped), "{dropped}");
}

#[test]
fn a_rate_lets_its_burst_pass_and_then_one_for_each_interval() {
    if !ready("a_rate_lets_its_burst_pass_and_then_one_for_each_interval") {
        return;
    }
    for hop in ALL_HOPS {
        let action = RuleAction::Rate(Rate { per_second: 50, burst: 7 });
        let (loaded, rules) = Loaded::filtering(hop, &set(&[with(action)]));
        let since = Instant::now();
        let mut passed = 0;
        while passed < 20 {
            passed += 1000 - drops(&loaded, hop, 1000);
        }
        // The clock stops after the last: what it allows is an upper bound, and the burst a lower one.
        let allowed = 7.0 + since.elapsed().as_secs_f64() * 50.0 + 1.0;
        assert!(passed as f64 <= allowed, "{passed} passed, {allowed} were allowed");
        assert!(passed >= 7);
        assert_eq!(rules.stats(0).expect("it can be read").passed as usize, passed);
    }
}

#[test]
fn counts_are_shared_by_all_processors() {
    if !ready("counts_are_shared_by_all_processors") {
        return;
    }
    const EACH: usize = 3_000;
    let cases =
        [(RuleAction::First(10), 10), (RuleAction::After(10), 4 * EACH - 10), (RuleAction::Every(7), 4 * EACH / 7)];
    for (action, expected) in cases {
        let (loaded, rules) = Loaded::filtering(Hop::XdpIn, &set(&[with(action)]));
        let dropped: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| drops(&loaded, Hop::XdpIn, EACH))).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends well")).sum()
        });
        assert_eq!(dropped, expected, "{action:?}");
        assert_eq!(rules.stats(0).expect("it can be read").chosen.packets as usize, expected);
    }
}

#[test]
fn a_rule_that_only_counts_changes_nothing_for_those_behind_it() {
    if !ready("a_rule_that_only_counts_changes_nothing_for_those_behind_it") {
        return;
    }
    let dry = Rule { asks: DRY_RUN, ..ALL };
    let (loaded, rules) =
        Loaded::filtering(Hop::XdpIn, &set(&[dry, Rule { kinds: 0b0001, ..dry }, with(RuleAction::Every(4))]));
    assert_eq!(drops(&loaded, Hop::XdpIn, 100), 25);
    let counts = [0, 1, 2]
        .map(|slot| rules.stats(slot).map(|stats| (stats.chosen.packets, stats.passed)).expect("they can be read"));
    // Were both real, the second would see nothing; so it counts nothing.
    assert_eq!(counts, [(100, 0), (0, 0), (25, 75)]);
}

#[test]
fn what_a_rule_does_not_match_or_no_longer_matches_meets_the_next() {
    if !ready("what_a_rule_does_not_match_or_no_longer_matches_meets_the_next") {
        return;
    }
    for hop in ALL_HOPS {
        let ended = Rule { deadline_ns: 1, ..ALL };
        let other = Rule { asks: ASKS_SEQ, seq_first: 2, seq_last: 2, ..ALL };
        let rules = [ended, other, with(RuleAction::Pass), ALL];
        let (loaded, noted) = Loaded::filtering(hop, &set(&rules));
        assert_eq!(drops(&loaded, hop, 10), 0);
        assert_eq!(loaded.run(hop, &v6(REQUEST6, 7, 2, b"").bytes()), Action::Drop);
        let hits = [0, 1, 2, 3]
            .map(|slot| noted.stats(slot).map(|stats| stats.chosen.packets + stats.passed).expect("they can be read"));
        assert_eq!(hits, [0, 1, 10, 0], "at {}", hop.name());
    }
}

#[test]
fn the_last_of_all_rules_is_reached() {
    if !ready("the_last_of_all_rules_is_reached") {
        return;
    }
    let mut rules = vec![Rule { asks: ASKS_SEQ | ASKS_SOURCE, seq_first: 9, seq_last: 9, ..ALL }; MAX_RULES - 1];
    rules.iter_mut().for_each(|rule| rule.deadline_ns = monotonic_ns() + 3_600_000_000_000);
    rules.push(with(RuleAction::Every(2)));
    for hop in ALL_HOPS {
        let (loaded, noted) = Loaded::filtering(hop, &set(&rules));
        assert_eq!(drops(&loaded, hop, 10), 5, "at {}", hop.name());
        assert_eq!(noted.stats(MAX_RULES as u32 - 1).expect("they can be read").passed, 5);
    }
}
