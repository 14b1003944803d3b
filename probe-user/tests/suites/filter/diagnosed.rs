//! A diagnosis and a filter that do not know of each other: the one names the other's rule, and is warned of.

use std::os::fd::{AsFd, AsRawFd};

use probe_user::lab::Netns;

use crate::common::{
    is_root,
    net::{B4, Pair, own_bpffs},
    run::{Running, command, probe},
};

/// The words of an agent inside.
fn agent(netns: &Netns) -> String {
    let handle = format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd());
    format!("nsenter --net={handle} {} agent", env!("CARGO_BIN_EXE_probe"))
}

#[test]
fn a_diagnosis_names_the_filter_and_the_rule_at_each_hook() {
    if !is_root("a_diagnosis_names_the_filter_and_the_rule_at_each_hook") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let ends = [("peer", &pair.b, "vb"), ("local", &pair.a, "va")];
    let (peer, local) = (ends[0], ends[1]);
    let cases = [
        (peer, "--type request", "request", "xdp"),
        (peer, "--type request --hook tc", "request", "tc"),
        (peer, "--type reply --direction out", "reply", "tc"),
        (local, "--type request --direction out", "request", "tc"),
        (local, "--type reply --hook tc", "reply", "tc"),
    ];
    for ((host, netns, interface), flags, leg, layer) in cases {
        probe(netns, &format!("filter add -I {interface} -e 99 {flags}")).done();
        probe(netns, &format!("filter add -I {interface} {flags}")).done();
        let mut diagnose = command(&pair.a, &format!("diagnose {B4} -c 4 -i 0.05 -W 1 --format json --peer"));
        let ran = Running::of({
            diagnose.arg(agent(&pair.b));
            diagnose
        })
        .wait();
        assert_eq!(ran.code, 1, "{flags} at {host}: {ran:?}");
        let document = ran.json();
        let stop = &document["stops"][0];
        let told = [&stop["leg"], &stop["host"], &stop["layer"], &stop["cause"]["reason"]];
        assert_eq!(told, [leg, host, layer, "PROBE_FILTER"], "{flags} at {host}: {document}");
        let sentence = document["verdict"]["sentence"].as_str().expect("a sentence");
        assert!(sentence.contains(&format!("probe's own filter on {interface} (rule 2)")), "{sentence}");
        probe(netns, "filter clear").done();
    }
}

#[test]
fn a_rule_that_hits_a_diagnosis_under_way_says_so() {
    if !is_root("a_rule_that_hits_a_diagnosis_under_way_says_so") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let diagnosing = Running::of(command(&pair.a, &format!("diagnose {B4} -e 4321 -c 1000 -i 0.05 -I va")));
    let pid = diagnosing.pid();
    let hit = || probe(&pair.a, "filter add -I va -e 4000-5000 --type reply --for 1 --hook tc").done().stderr;
    let told = format!("matches packets of a running diagnosis here (process {pid}, id 4321)");
    crate::common::net::eventually("the diagnosis is under way", || hit().contains(&told));
    let others = ["filter add -I va -e 7", "filter add -I lo -e 4321", "filter add -I va -e 4321 --dry-run"];
    for words in others {
        assert!(!probe(&pair.a, words).done().stderr.contains("diagnosis"), "{words}");
    }
    assert!(!probe(&pair.b, "filter add -I vb -e 4321").done().stderr.contains("diagnosis"), "another namespace");
    drop(diagnosing);
    assert!(!hit().contains("diagnosis"), "it is over");
}
