//! Killed at any moment: what is listed is attached, and the next command mends the rest.

use std::{
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use probe_user::lab::Netns;

use crate::common::{
    is_root,
    net::{Pair, own_bpffs, programs},
    run::{Running, command, probe},
};
use crate::filter::host::expect_bare;

/// How many guards are listed.
fn listed(netns: &Netns) -> usize {
    let document = probe(netns, "filter list --format json").done().json();
    document["guards"].as_array().expect("an array").len()
}

#[test]
fn kill_9_at_any_moment_leaves_what_the_next_command_mends() {
    if !is_root("kill_9_at_any_moment_leaves_what_the_next_command_mends") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let time = |words: &str| {
        let since = Instant::now();
        probe(&pair.b, words).done();
        since.elapsed()
    };
    let (add, clear) = (time("filter guard -I vb"), time("filter clear"));
    let rounds = 24;
    for round in 0..rounds {
        // Each time a step later, adding and removing in turn.
        let (words, longest) =
            if round % 2 == 0 { ("filter guard -I vb --protect both", add) } else { ("filter clear", clear) };
        let running = Running::of(command(&pair.b, words));
        thread::sleep(longest * round / rounds);
        running.end_with(Signal::SIGKILL);
        if listed(&pair.b) == 1 {
            assert_eq!(programs(&pair.b, "vb").len(), 2, "round {round}: a guard that is listed is whole");
        } else {
            // What is left of one is gone after the next command that changes anything.
            probe(&pair.b, "filter add -I lo -e 7").done();
            assert!(programs(&pair.b, "vb").is_empty(), "round {round}: {:?}", programs(&pair.b, "vb"));
            probe(&pair.b, "filter clear -I lo").done();
        }
        thread::sleep(Duration::from_millis(1));
    }
    probe(&pair.b, "filter clear").done();
    expect_bare(&pair.b, "vb");
    probe(&pair.b, "filter guard -I vb").done();
    assert_eq!(listed(&pair.b), 1);
}
