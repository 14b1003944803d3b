//! Rules that live as long as the command that added them, and a little longer where that is killed.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::host::{expect_bare, list, numbers, replies, rules, send};
use crate::common::{
    is_root,
    net::{PATIENCE, Pair, eventually, own_bpffs},
    run::{Running, probe},
};

#[test]
fn a_rule_held_until_exit_goes_with_its_command_which_says_what_it_did() {
    if !is_root("a_rule_held_until_exit_goes_with_its_command_which_says_what_it_did") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let held = Running::start(&pair.b, "filter add -I vb -e 7 --until-exit --format json");
    send(&pair, &replies(7, 20), 20);
    let row = list(&pair.b).remove(0);
    assert_eq!((&row["until_exit"], row["number"].as_u64()), (&true.into(), Some(1)));
    let text = probe(&pair.b, "filter list").done().stdout;
    assert!(text.contains("with its command"), "{text}");
    let ran = held.end_with(Signal::SIGINT);
    assert_eq!(ran.code, 130, "{ran:?}");
    assert_eq!(rules(&ran)[0]["dropped"], 20, "{ran:?}");
    expect_bare(&pair.b, "vb");
}

#[test]
fn a_held_rule_outlasts_its_lease_as_long_as_its_command_and_not_longer() {
    if !is_root("a_held_rule_outlasts_its_lease_as_long_as_its_command_and_not_longer") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let held = Running::start(&pair.b, "filter add -I vb -e 7 --until-exit");
    // Another's change in between must not make it lose its lease.
    probe(&pair.b, "filter add -I vb -e 8 --before 1").done();
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(7) {
        let left = list(&pair.b)[1]["expires_in_s"].as_u64().expect("it has an end");
        assert!(left > 0, "it has ended though its command lives");
        std::thread::sleep(Duration::from_millis(200));
    }
    send(&pair, &replies(7, 5), 5);
    held.end_with(Signal::SIGKILL);
    let killed = Instant::now();
    eventually("it has ended", || list(&pair.b)[1]["expires_in_s"] == 0);
    assert!(killed.elapsed() < PATIENCE);
    send(&pair, &replies(7, 5), 0);
    send(&pair, &replies(8, 5), 5);
    // The next change takes the dead one away.
    probe(&pair.b, "filter add -I vb -e 9").done();
    assert_eq!(numbers(&list(&pair.b)), [2, 3]);
    probe(&pair.b, "filter clear").done();
    expect_bare(&pair.b, "vb");
}

#[test]
fn a_held_rule_that_somebody_else_removes_ends_its_command() {
    if !is_root("a_held_rule_that_somebody_else_removes_ends_its_command") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let held = Running::start(&pair.b, "filter add -I vb -e 7 --until-exit");
    probe(&pair.b, "filter clear").done();
    let ran = held.wait().done();
    assert!(ran.stderr.contains("rule 1 was removed by another process"), "{ran:?}");
    let timed = Running::start(&pair.b, "filter add -I vb -e 7 --until-exit --for 1").wait().done();
    assert!(timed.stdout.contains("replies"), "{timed:?}");
    expect_bare(&pair.b, "vb");
}
