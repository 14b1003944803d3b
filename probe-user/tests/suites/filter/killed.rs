//! Killed at any moment: a program is never attached without a rule that is listed, and the next command mends the rest.

use std::{thread, time::Duration};

use nix::sys::signal::Signal;
use probe_user::lab::Netns;

use super::host::{expect_bare, folders, list, numbers, replies, send};
use crate::common::{
    is_root,
    net::{Pair, own_bpffs, programs},
    run::{Running, command, probe},
};

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What holds at every moment: rules are listed where, and only where, a program is attached.
fn check(netns: &Netns, after: &str) {
    let (rules, attached) = (list(netns).len(), programs(netns, "vb").len());
    assert_eq!(rules > 0, attached > 0, "after {after}: {rules} rules, {attached} programs");
}

/// How long `probe WORDS` takes to its end, in microseconds.
fn duration(netns: &Netns, words: &str) -> u64 {
    let since = std::time::Instant::now();
    probe(netns, words).done();
    u64::try_from(since.elapsed().as_micros()).expect("it ends in this life")
}

#[test]
fn kill_9_at_any_moment_leaves_what_the_next_command_can_mend() {
    if !is_root("kill_9_at_any_moment_leaves_what_the_next_command_can_mend") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let mut dice = Dice(1);
    let longest = [duration(&pair.b, "filter add -I vb -e 7"), duration(&pair.b, "filter clear")];
    for round in 0..50 {
        let words = match round % 5 {
            0 | 2 => "filter add -I vb -e 7".to_owned(),
            1 => "filter add -I vb -e 8-9 --type request".to_owned(),
            3 => format!("filter remove {}", numbers(&list(&pair.b)).first().copied().unwrap_or(1)),
            _ => "filter clear".to_owned(),
        };
        let longest = if words.contains("add") { longest[0] } else { longest[1] };
        let running = Running::of(command(&pair.b, &words));
        thread::sleep(Duration::from_micros(dice.below(longest)));
        running.end_with(Signal::SIGKILL);
        check(&pair.b, &format!("{words} (round {round})"));
    }
    probe(&pair.b, "filter add -I vb -e 100").done();
    // Whatever else there is by now: a rule that is listed drops.
    let numbered = list(&pair.b);
    for rule in &numbered {
        let id = u16::try_from(rule["match"]["id_first"].as_u64().expect("an id")).expect("16 bits");
        if rule["match"]["type"] == "both" {
            send(&pair, &replies(id, 2), 2);
        }
    }
    probe(&pair.b, "filter clear").done();
    expect_bare(&pair.b, "vb");
}

#[test]
fn ctrl_c_leaves_a_change_whole_or_not_begun() {
    if !is_root("ctrl_c_leaves_a_change_whole_or_not_begun") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let mut dice = Dice(2);
    let longest = [duration(&pair.b, "filter add -I vb -e 7"), duration(&pair.b, "filter clear")];
    for round in 0..20 {
        let (words, longest) =
            if round % 2 == 0 { ("filter add -I vb -e 7", longest[0]) } else { ("filter clear", longest[1]) };
        let running = Running::of(command(&pair.b, words));
        thread::sleep(Duration::from_micros(dice.below(longest)));
        let ran = running.end_with(Signal::SIGINT);
        assert!([0, 130].contains(&ran.code), "{ran:?}");
        check(&pair.b, words);
        assert_eq!(folders().len(), programs(&pair.b, "vb").len(), "nothing half made is left after {words}");
    }
    probe(&pair.b, "filter clear").done();
    expect_bare(&pair.b, "vb");
}
