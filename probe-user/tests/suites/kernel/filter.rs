//! The filter in the kernel: what a rule drops and what it lets pass, what it notes, and when it ends.

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use aya::maps::Array;
use probe_ebpf::{
    Count, Hop, Kind, Rule, RuleStats, Tally,
    filter::{DEADLINES, MAX_RULES},
    names,
};
use probe_user::{
    clock::monotonic_ns,
    ebpf::{
        border::Plain,
        error::KernelError,
        load::{Job, Switch},
    },
    filter::rules::Needs,
};

use super::{
    loaded::{ALL_HOPS, Action, Counted, Loaded},
    ready::ready,
    samples::{REPLY, REQUEST, REQUEST6, others, plain, skipped},
};

const INGRESS: [Hop; 2] = [Hop::XdpIn, Hop::TcIn];

/// What the kernel notes may be two ticks behind: at most 20 ms, at 100 Hz.
const TICKS: Duration = Duration::from_millis(20);

fn filter() -> Loaded {
    Loaded::new(&Job { filter: Switch::On, ..Job::count(&ALL_HOPS) })
}

/// As [`filter`], for rules with a deadline.
fn mortal() -> Loaded {
    let needs = Needs { features: DEADLINES, steps: 1 };
    Loaded::new(&Job { filter: Switch::On, needs, ..Job::count(&ALL_HOPS) })
}

/// A rule for these kinds of these ids, without an end.
fn rule(number: u32, ids: (u16, u16), kinds: &[Kind]) -> Rule {
    let kinds = kinds.iter().fold(0, |bits, kind| bits | 1 << kind.index());
    Rule { number, id_first: ids.0, id_last: ids.1, kinds, ..Rule::default() }
}

#[test]
fn a_rule_drops_its_kinds_and_ids_where_packets_enter_and_nothing_else() {
    if !ready("a_rule_drops_its_kinds_and_ids_where_packets_enter_and_nothing_else") {
        return;
    }
    let mut loaded = filter();
    let mut rules = loaded.rules();
    rules.add(&rule(1, (100, 200), &[REQUEST, REQUEST6])).expect("there is room");
    for hop in ALL_HOPS {
        for kind in Kind::ALL {
            for id in [0, 99, 100, 150, 200, 201, 0xffff] {
                let matches = hop != Hop::TcOut && (kind == REQUEST || kind == REQUEST6) && (100..=200).contains(&id);
                let expected = if matches { Action::Drop } else { Action::Pass };
                assert_eq!(loaded.run(hop, &plain(kind, id)), expected, "{kind:?} {id} at {}", hop.name());
            }
        }
    }
}

#[test]
fn what_is_dropped_is_counted_first_and_noted_for_its_rule() {
    if !ready("what_is_dropped_is_counted_first_and_noted_for_its_rule") {
        return;
    }
    for hop in INGRESS {
        let mut loaded = filter();
        let mut rules = loaded.rules();
        rules.add(&rule(1, (1, 1), &[REPLY])).expect("there is room");
        let slot = rules.add(&rule(2, (7, 7), &[REQUEST])).expect("there is room");
        let before = monotonic_ns();
        for _ in 0..3 {
            assert_eq!(loaded.run(hop, &plain(REQUEST, 7)), Action::Drop);
            loaded.note(hop, Ok(Counted { kind: REQUEST, id: 7, bytes: 35 }));
        }
        loaded.check();
        let dropped = Count { packets: 3, bytes: 3 * 35 };
        let mut tally = Tally::default();
        tally.kinds[REQUEST.index()] = dropped;
        assert_eq!(loaded.dropped(), BTreeMap::from([(7, tally)]));
        let stats = rules.stats(slot).expect("it can be read");
        assert_eq!(stats.chosen, dropped);
        let ticks = TICKS.as_nanos() as u64;
        assert!((before - ticks..=monotonic_ns()).contains(&stats.last_ns), "{stats:?}, from {before} on");
        assert_eq!(rules.stats(0).expect("it can be read"), RuleStats::default());
        sleep(3 * TICKS);
        let later = monotonic_ns();
        assert_eq!(loaded.run(hop, &plain(REQUEST, 7)), Action::Drop);
        let stats = rules.stats(slot).expect("it can be read");
        assert!((later - ticks..=monotonic_ns()).contains(&stats.last_ns), "{stats:?}, from {later} on");
    }
}

#[test]
fn what_cannot_be_read_or_is_no_echo_is_never_dropped() {
    if !ready("what_cannot_be_read_or_is_no_echo_is_never_dropped") {
        return;
    }
    let mut loaded = filter();
    loaded.rules().add(&rule(1, (0, u16::MAX), &Kind::ALL)).expect("there is room");
    for hop in ALL_HOPS {
        for (name, frame, _) in skipped() {
            assert_eq!(loaded.run(hop, &frame), Action::Pass, "{name} at {}", hop.name());
        }
        for (name, frame) in others() {
            assert_eq!(loaded.run(hop, &frame), Action::Pass, "{name} at {}", hop.name());
        }
        let expected = if hop == Hop::TcOut { Action::Pass } else { Action::Drop };
        assert_eq!(loaded.run(hop, &plain(REQUEST, 7)), expected, "the rule is there, at {}", hop.name());
    }
    assert_eq!(loaded.dropped().len(), 1);
}

#[test]
fn a_rule_with_a_deadline_ends_in_the_kernel_with_nobody_touching_it() {
    if !ready("a_rule_with_a_deadline_ends_in_the_kernel_with_nobody_touching_it") {
        return;
    }
    const HOLDS: Duration = Duration::from_millis(300);
    let mut loaded = mortal();
    let mut rules = loaded.rules();
    let deadline_ns = monotonic_ns() + HOLDS.as_nanos() as u64;
    let slot = rules.add(&Rule { deadline_ns, ..rule(1, (7, 7), &[REQUEST]) }).expect("there is room");
    let mut drops = 0;
    let end = Instant::now() + HOLDS + Duration::from_secs(5);
    while loaded.run(Hop::XdpIn, &plain(REQUEST, 7)) == Action::Drop {
        drops += 1;
        assert!(Instant::now() < end, "it still holds");
        sleep(Duration::from_millis(2));
    }
    assert!(drops > 0, "it never held");
    assert!(monotonic_ns() >= deadline_ns, "it ended too early");
    assert_eq!(loaded.run(Hop::TcIn, &plain(REQUEST, 7)), Action::Pass);
    assert_eq!(rules.stats(slot).expect("it can be read").chosen.packets, drops);
    assert_eq!(rules.read().expect("rules")[slot as usize].number, 1, "its slot is still in use");
}

#[test]
fn a_rule_whose_deadline_is_past_never_holds() {
    if !ready("a_rule_whose_deadline_is_past_never_holds") {
        return;
    }
    let mut loaded = mortal();
    let deadline_ns = monotonic_ns() - 1_000_000_000;
    loaded.rules().add(&Rule { deadline_ns, ..rule(1, (7, 7), &[REQUEST]) }).expect("there is room");
    assert_eq!(loaded.run(Hop::XdpIn, &plain(REQUEST, 7)), Action::Pass);
    assert!(loaded.dropped().is_empty());
}

#[test]
fn removing_the_rule_that_holds_lets_the_next_one_hold() {
    if !ready("removing_the_rule_that_holds_lets_the_next_one_hold") {
        return;
    }
    let mut loaded = filter();
    let mut rules = loaded.rules();
    let first = rules.add(&rule(1, (7, 7), &[REQUEST])).expect("there is room");
    let second = rules.add(&rule(2, (0, 9), &[REQUEST])).expect("there is room");
    let drops = |rules: &probe_user::ebpf::filter::Rules| {
        [first, second].map(|slot| rules.stats(slot).expect("it can be read").chosen.packets)
    };
    assert_eq!(loaded.run(Hop::XdpIn, &plain(REQUEST, 7)), Action::Drop);
    assert_eq!(drops(&rules), [1, 0]);
    rules.remove(&[first]).expect("it can be removed");
    assert_eq!(loaded.run(Hop::XdpIn, &plain(REQUEST, 7)), Action::Drop);
    assert_eq!(drops(&rules), [1, 1]);
    rules.remove(&[second]).expect("it can be removed");
    assert_eq!(loaded.run(Hop::XdpIn, &plain(REQUEST, 7)), Action::Pass);
    let again = rules.add(&rule(3, (7, 7), &[REQUEST])).expect("there is room");
    assert_eq!(rules.stats(again).expect("it can be read"), RuleStats::default(), "a slot starts anew");
}

#[test]
fn every_slot_holds_and_there_is_none_after_the_last() {
    if !ready("every_slot_holds_and_there_is_none_after_the_last") {
        return;
    }
    let mut loaded = filter();
    let most = MAX_RULES as u16;
    let map = loaded.programs.map_mut(names::RULES).expect("the rules");
    let mut slots: Array<_, Plain<Rule>> = map.try_into().expect("an array");
    for id in 0..most - 1 {
        slots.set(u32::from(id), Plain(rule(u32::from(id) + 1, (id, id), &[REQUEST])), 0).expect("a slot");
    }
    let mut rules = loaded.rules();
    // The last one makes the index follow all of them.
    rules.add(&rule(u32::from(most), (most - 1, most - 1), &[REQUEST])).expect("there is room for one");
    let full = rules.add(&rule(1000, (most, most), &[REQUEST]));
    assert!(matches!(full, Err(KernelError::RulesFull)), "{full:?}");
    for id in 0..most {
        assert_eq!(loaded.run(Hop::XdpIn, &plain(REQUEST, id)), Action::Drop);
        assert_eq!(rules.stats(u32::from(id)).expect("it can be read").chosen.packets, 1);
    }
    assert_eq!(loaded.run(Hop::XdpIn, &plain(REQUEST, most)), Action::Pass);
}

#[test]
fn a_job_without_a_filter_drops_nothing_whatever_the_index_says() {
    if !ready("a_job_without_a_filter_drops_nothing_whatever_the_index_says") {
        return;
    }
    let mut loaded = Loaded::new(&Job::count(&ALL_HOPS));
    loaded.rules().add(&rule(1, (0, u16::MAX), &Kind::ALL)).expect("there is room");
    for hop in ALL_HOPS {
        assert_eq!(loaded.run(hop, &plain(REQUEST, 7)), Action::Pass);
    }
}
