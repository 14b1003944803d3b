//! Rows of the tallies: processors that share one lose no packet, because they then count with atomic additions.

use std::thread;

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use probe_ebpf::{Count, Hop, Tally};
use probe_user::ebpf::load::{Job, Rows, Switch, processors};

use super::{
    loaded::Loaded,
    ready::ready,
    samples::{REQUEST, plain},
};

const EACH: u32 = 300_000;

/// Counts the same packet on two processors at once.
fn count_on_two(loaded: &Loaded) {
    thread::scope(|scope| {
        for processor in 0..2 {
            scope.spawn(move || {
                let mut only = CpuSet::new();
                only.set(processor).expect("a small number");
                // A machine with one processor runs both there, in turn.
                let _ = sched_setaffinity(Pid::from_raw(0), &only);
                loaded.repeat(Hop::XdpIn, &plain(REQUEST, 7), EACH);
            });
        }
    });
}

#[test]
fn processors_that_share_a_row_lose_no_packet() {
    if !ready("processors_that_share_a_row_lose_no_packet") {
        return;
    }
    let rows = Rows { count: 1, shared: Switch::On };
    let loaded = Loaded::with_rows(&Job { filter: Switch::On, ..Job::count(&[Hop::XdpIn]) }, rows);
    count_on_two(&loaded);
    assert_eq!(loaded.packets(Hop::XdpIn, REQUEST, 7), 2 * u64::from(EACH));
}

#[test]
fn shared_rows_drop_and_count_as_rows_of_one_s_own_do() {
    if !ready("shared_rows_drop_and_count_as_rows_of_one_s_own_do") {
        return;
    }
    let rows = Rows { count: 2, shared: Switch::On };
    let mut loaded = Loaded::with_rows(&Job { filter: Switch::On, ..Job::count(&[Hop::XdpIn]) }, rows);
    let rule = probe_ebpf::Rule { number: 1, id_first: 7, id_last: 7, kinds: 0b1111, ..Default::default() };
    loaded.rules().add(&rule).expect("there is room");
    count_on_two(&loaded);
    let mut tally = Tally::default();
    tally.kinds[REQUEST.index()] = Count { packets: 2 * u64::from(EACH), bytes: 2 * 35 * u64::from(EACH) };
    assert_eq!(loaded.dropped(), [(7, tally)].into());
}

#[test]
fn rows_of_one_s_own_lose_no_packet_either() {
    if !ready("rows_of_one_s_own_lose_no_packet_either") {
        return;
    }
    let rows = Rows::of(processors().expect("sysfs"));
    let loaded = Loaded::with_rows(&Job::count(&[Hop::XdpIn]), rows);
    count_on_two(&loaded);
    assert_eq!(loaded.packets(Hop::XdpIn, REQUEST, 7), 2 * u64::from(EACH));
}
