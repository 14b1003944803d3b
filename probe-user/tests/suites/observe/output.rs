//! What is shown, when, and how: flags that choose, JSON lines, terminals.

use std::process::Stdio;

use nix::sys::signal::Signal;
use probe_ebpf::Echo;

use super::row::{of, row};
use crate::common::{
    is_root,
    net::{Pair, Wire, eventually, from_b, has},
    run::{Running, command, probe},
};

#[test]
fn only_the_ids_that_were_asked_for_are_shown() {
    if !is_root("only_the_ids_that_were_asked_for_are_shown") {
        return;
    }
    let pair = Pair::new();
    let wire = Wire::of(&pair.b, "vb");
    let mut observer = Running::start(&pair.a, "observe -I va -i 0.1 -e 5 --id 0x10-0x12 --format json");
    for id in 0..100 {
        wire.put(&from_b(Echo::Reply, id, 1));
    }
    observer.until_last("the last of them", |document| row(document, 18).entered == (0, 1));
    let document = observer.end_with(Signal::SIGINT).last();
    let ids: Vec<_> = document["ids"].as_array().expect("an array").iter().map(|id| id["id"].clone()).collect();
    assert_eq!(ids, [5, 16, 17, 18]);
}

#[test]
fn counts_only_knows_neither_peers_nor_times() {
    if !is_root("counts_only_knows_neither_peers_nor_times") {
        return;
    }
    let pair = Pair::new();
    let mut observer = Running::start(&pair.a, "observe -I va -i 0.1 --counts-only --format json");
    probe(&pair.a, "send request 10.9.0.2 -e 7 -c 3 -i 0.01").done();
    observer.until_last("the replies", |document| row(document, 7).entered == (0, 3));
    let document = observer.end_with(Signal::SIGINT).last();
    let id = of(&document, 7, 4);
    assert_eq!(id["out"]["requests"], 3);
    for field in ["peer", "pairs", "lost", "rtt_ns"] {
        assert!(id.get(field).is_some_and(serde_json::Value::is_null), "{field}: {id}");
    }
}

#[test]
fn once_and_duration_end_it_by_themselves() {
    if !is_root("once_and_duration_end_it_by_themselves") {
        return;
    }
    let pair = Pair::new();
    let once = probe(&pair.a, "observe -I va --once -i 0.3 --format json").done().json();
    assert!(once["seconds"].as_f64().is_some_and(|seconds| (0.3..15.0).contains(&seconds)), "{once}");
    let longer = probe(&pair.a, "observe -I va --once --duration 0.6 -i 0.1 --format json").done().json();
    assert!(longer["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.6), "{longer}");
    let stream = probe(&pair.a, "observe -I va --duration 1 -i 0.2 --format json").done();
    let seconds: Vec<f64> = stream.documents().iter().filter_map(|document| document["seconds"].as_f64()).collect();
    assert!((1..=6).contains(&seconds.len()) && seconds.is_sorted(), "{stream:?}");
    assert!(stream.documents().iter().all(|document| document["schema"] == "probe.observation/1"));
    let text = probe(&pair.a, "observe -I va --once -i 0.1 -q").done();
    assert_eq!(text.stderr, "", "-q leaves the report alone");
    assert!(text.stdout.ends_with("no ICMP echo yet\n"), "{text:?}");
}

#[test]
fn very_verbose_shows_what_the_kernel_programs_log_and_no_library() {
    if !is_root("very_verbose_shows_what_the_kernel_programs_log_and_no_library") {
        return;
    }
    let pair = Pair::new();
    let mut observer = Running::start(&pair.a, "observe -I va -i 60 -vv");
    probe(&pair.a, "send request 10.9.0.2 -e 7 --seq 3").done();
    observer.until("both lines", |_, stderr| {
        stderr.contains("tc_out: type 8 id 7 seq 3") && stderr.contains("tc_in: type 0 id 7 seq 3")
    });
    let ran = observer.end_with(Signal::SIGINT);
    assert!(!ran.stderr.contains("reloc") && ran.stderr.lines().count() < 10, "{}", ran.stderr);
}

#[test]
fn a_terminal_is_redrawn_within_its_size() {
    if !is_root("a_terminal_is_redrawn_within_its_size") {
        return;
    }
    assert!(has("script"), "script(1) of util-linux is part of every Debian");
    let pair = Pair::new();
    let wire = Wire::of(&pair.b, "vb");
    let observe = format!("{} observe -I va -i 0.1", env!("CARGO_BIN_EXE_probe"));
    let mut terminal = pair.a.command("script");
    terminal.args(["-qefc", &format!("stty cols 64 rows 12; {observe}"), "/dev/null"]).env("TERM", "xterm");
    terminal.stdin(Stdio::piped());
    let mut terminal = Running::of(terminal);
    terminal.until("it watches", |stdout, _| stdout.contains("Ctrl-C ends it"));
    for id in 1_000..1_050 {
        wire.put(&from_b(Echo::Reply, id, 1));
    }
    terminal.until("all ids", |stdout, _| stdout.contains("and 43 ids with fewer packets"));
    // As the key does: the terminal turns it into a signal.
    terminal.type_in(b"\x03");
    let ran = terminal.wait();
    let last = ran.stdout.rsplit("\x1b[J").next().expect("the last refresh");
    let plain: Vec<String> = last.lines().map(without_colour).collect();
    assert!(plain.iter().all(|line| line.chars().count() <= 64), "{plain:#?}");
    assert_eq!(plain.len(), 10, "heading, names, 7 ids and how many more: {plain:#?}");
    assert!(ran.stdout.contains("\x1b[10F\x1b[J"), "as many lines up as were drawn");
    assert_eq!(ran.code, 130);
}

fn without_colour(line: &str) -> String {
    let mut parts = line.trim_end().split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.filter_map(|part| part.split_once('m')).fold(first, |line, (_, text)| line + text)
}

#[test]
fn a_reader_that_goes_away_ends_it_and_leaves_nothing() {
    if !is_root("a_reader_that_goes_away_ends_it_and_leaves_nothing") {
        return;
    }
    let pair = Pair::new();
    let probe = env!("CARGO_BIN_EXE_probe");
    let line =
        format!("{probe} observe -I va -i 0.05 --xdp off --tc clsact 2>&3 | head -1; echo \"${{PIPESTATUS[0]}}\"");
    let output = pair.a.command("bash").args(["-c", &format!("exec 3>&2; {line}")]).output().expect("bash is there");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("va after") && text.ends_with("\n0\n"), "{text}");
    eventually("nothing is attached", || crate::common::net::programs(&pair.a, "va").is_empty());
    assert!(!crate::common::net::sh(&pair.a, "tc qdisc show dev va").contains("clsact"));
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    if !is_root("a_full_disk_is_an_error_and_leaves_nothing") {
        return;
    }
    let pair = Pair::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let mut observe = command(&pair.a, "observe -I va -i 0.05 --tc clsact -q");
    let ran = crate::common::run::Ran::of(observe.stdout(full).stderr(Stdio::piped()).output().expect("it starts"));
    assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{ran:?}");
    assert!(ran.stderr.contains("cannot write the report"), "{ran:?}");
    assert!(crate::common::net::programs(&pair.a, "va").is_empty());
}
