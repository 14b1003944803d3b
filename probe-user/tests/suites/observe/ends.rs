//! Every way in which it can end, and what is left then: nothing, or what the next one removes.

use std::time::Instant;

use nix::sys::signal::Signal;
use probe_ebpf::Echo;
use probe_user::lab::Netns;

use super::row::row;
use crate::common::{
    is_root,
    net::{PATIENCE, Pair, Wire, eventually, from_b, programs, received, sh},
    run::{Running, command, probe},
};

fn has_clsact(netns: &Netns) -> bool {
    sh(netns, "tc qdisc show dev va").contains("clsact")
}

#[test]
fn a_signal_ends_it_with_the_last_table() {
    if !is_root("a_signal_ends_it_with_the_last_table") {
        return;
    }
    let pair = Pair::new();
    let wire = Wire::of(&pair.b, "vb");
    for (signal, flags) in
        [(Signal::SIGINT, ""), (Signal::SIGTERM, "--xdp native"), (Signal::SIGHUP, "--xdp off --tc clsact")]
    {
        let observer = Running::start(&pair.a, &format!("observe -I va -i 60 --format json {flags}"));
        let before = received(&pair.a, "va");
        wire.put(&from_b(Echo::Reply, 7, 1));
        eventually("the frame has crossed", || received(&pair.a, "va") > before);
        let ran = observer.end_with(signal);
        assert_eq!((ran.code, ran.documents().len()), (130, 1), "{signal}: {ran:?}");
        assert_eq!(row(&ran.last(), 7).entered, (0, 1), "{signal}");
        assert!(programs(&pair.a, "va").is_empty() && !has_clsact(&pair.a), "{signal}");
    }
}

#[test]
fn nohup_lets_it_live_beyond_its_terminal() {
    if !is_root("nohup_lets_it_live_beyond_its_terminal") {
        return;
    }
    let pair = Pair::new();
    let mut nohup = pair.a.command("nohup");
    nohup.args([env!("CARGO_BIN_EXE_probe"), "observe", "-I", "va", "-i", "0.1", "--format", "json"]);
    let mut observer = Running::of(nohup);
    observer.until("it watches", |_, stderr| stderr.contains("Ctrl-C ends it"));
    observer.signal(Signal::SIGHUP);
    Wire::of(&pair.b, "vb").put(&from_b(Echo::Reply, 7, 1));
    observer.until_last("it still counts", |document| row(document, 7).entered == (0, 1));
    assert_eq!(observer.end_with(Signal::SIGINT).code, 130);
}

#[test]
fn a_signal_while_it_attaches_leaves_nothing() {
    if !is_root("a_signal_while_it_attaches_leaves_nothing") {
        return;
    }
    let pair = Pair::new();
    for step in 0..12 {
        let observer = Running::of(command(&pair.a, "observe -I va -i 60 --xdp off --tc clsact"));
        std::thread::sleep(std::time::Duration::from_millis(step * 15));
        let ran = observer.end_with(Signal::SIGINT);
        assert_eq!(ran.code, 130, "{ran:?}");
        assert!(programs(&pair.a, "va").is_empty() && !has_clsact(&pair.a), "after {} ms", step * 15);
    }
}

#[test]
fn kill_9_leaves_no_link() {
    if !is_root("kill_9_leaves_no_link") {
        return;
    }
    let pair = Pair::new();
    for flags in ["", "--xdp native", "--xdp off"] {
        let observer = Running::start(&pair.a, &format!("observe -I va {flags}"));
        assert_eq!(programs(&pair.a, "va").len(), 2, "{flags}: two programs are attached");
        assert_eq!(observer.end_with(Signal::SIGKILL).code, 137);
        eventually("the programs are gone", || programs(&pair.a, "va").is_empty());
    }
}

#[test]
fn what_kill_9_leaves_of_clsact_goes_with_the_next_probe() {
    if !is_root("what_kill_9_leaves_of_clsact_goes_with_the_next_probe") {
        return;
    }
    let pair = Pair::new();
    for next in ["observe -I va --once -i 0.05", "observe -I va --tc clsact --once -i 0.05", "receive -I va -W 0.05"] {
        let observer = Running::start(&pair.a, "observe -I va --xdp off --tc clsact");
        observer.end_with(Signal::SIGKILL);
        assert_eq!(programs(&pair.a, "va").len(), 2, "a filter outlives its process");
        let ran = probe(&pair.a, next).done();
        assert_eq!(ran.stderr.matches("removing what a killed probe left on tc of va").count(), 1, "{next}: {ran:?}");
        assert!(programs(&pair.a, "va").is_empty() && !has_clsact(&pair.a), "{next}");
        assert!(!probe(&pair.a, next).done().stderr.contains("removing"), "{next}: it is told once");
    }
}

#[test]
fn a_qdisc_and_a_filter_of_somebody_else_stay() {
    if !is_root("a_qdisc_and_a_filter_of_somebody_else_stay") {
        return;
    }
    let pair = Pair::new();
    sh(&pair.a, "tc qdisc add dev va clsact");
    probe(&pair.a, "observe -I va --xdp off --tc clsact --once -i 0.05").done();
    assert!(has_clsact(&pair.a) && programs(&pair.a, "va").is_empty());
    Running::start(&pair.a, "observe -I va --xdp off --tc clsact").end_with(Signal::SIGKILL);
    probe(&pair.a, "observe -I va --once -i 0.05").done();
    assert!(has_clsact(&pair.a) && programs(&pair.a, "va").is_empty(), "the qdisc was there before");
}

#[test]
fn the_last_of_several_takes_the_qdisc_along() {
    if !is_root("the_last_of_several_takes_the_qdisc_along") {
        return;
    }
    let pair = Pair::new();
    let words = "observe -I va -i 0.1 --xdp off --tc clsact --format json";
    let first = Running::start(&pair.a, words);
    let mut second = Running::start(&pair.a, words);
    assert_eq!(first.end_with(Signal::SIGINT).code, 130);
    assert_eq!(programs(&pair.a, "va").len(), 2, "the other's filters stay");
    Wire::of(&pair.b, "vb").put(&from_b(Echo::Reply, 7, 1));
    second.until_last("it still counts", |document| row(document, 7).entered == (0, 1));
    second.end_with(Signal::SIGINT);
    assert!(!has_clsact(&pair.a));
}

#[test]
fn an_interface_that_goes_away_ends_it_at_once() {
    if !is_root("an_interface_that_goes_away_ends_it_at_once") {
        return;
    }
    for flags in ["", "--xdp off --tc clsact", "--duration 3600"] {
        let pair = Pair::new();
        let observer = Running::start(&pair.a, &format!("observe -I va -i 3600 --format json {flags}"));
        Wire::of(&pair.b, "vb").put(&from_b(Echo::Reply, 7, 1));
        let since = Instant::now();
        sh(&pair.a, "ip link del va");
        let ran = observer.wait();
        assert!(since.elapsed() < PATIENCE / 2, "it took {:?}", since.elapsed());
        let documents = ran.documents();
        assert_eq!((ran.code, documents.len()), (2, 2), "{ran:?}");
        assert_eq!(row(&documents[0], 7).entered, (0, 1), "what was learned is printed");
        assert_eq!(
            (&documents[1]["schema"], &documents[1]["error"]),
            (&"probe.error/1".into(), &"the interface va is gone".into())
        );
        let told: Vec<_> = ran.stderr.lines().filter(|line| !line.contains("Ctrl-C ends it")).collect();
        assert_eq!(told, ["probe: the interface va is gone — start again once it is back: ip link show va"]);
    }
}

#[test]
fn an_interface_that_went_down_counts_again_when_it_is_up_and_under_a_new_name() {
    if !is_root("an_interface_that_went_down_counts_again_when_it_is_up_and_under_a_new_name") {
        return;
    }
    let pair = Pair::new();
    for (number, flags) in [(1, ""), (2, "--xdp off"), (3, "--xdp off --tc clsact"), (4, "--xdp native")] {
        let mut observer = Running::start(&pair.a, &format!("observe -I va -i 0.1 --format json {flags}"));
        sh(&pair.a, "ip link set va down; ip link set va name other; ip link set other up");
        let wire = Wire::of(&pair.b, "vb");
        // What is sent before the link is whole again is lost.
        observer.until_last("a packet", |document| {
            let _ = wire.try_put(&from_b(Echo::Reply, number, 1));
            row(document, number).entered.1 > 0
        });
        assert_eq!(observer.end_with(Signal::SIGINT).code, 130, "{flags}");
        sh(&pair.a, "ip link set other down; ip link set other name va; ip link set va up");
    }
    assert!(programs(&pair.a, "va").is_empty() && !has_clsact(&pair.a));
}
