//! Pairs of flags and host states, from a table: both programs are run with the same flags, and must be answered alike.

use std::{
    collections::VecDeque,
    process::Stdio,
    sync::{Mutex, PoisonError},
    thread,
};

use serde::Deserialize;
use serde_json::Value;

use super::{
    world::{B4, B6, World},
    zeros::Zeros,
};
use crate::common::{
    self,
    net::sh,
    run::{Ran, command},
};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    name: String,
    #[serde(default)]
    a: String,
    #[serde(default)]
    b: String,
    #[serde(default)]
    flags: String,
    tried: Vec<String>,
    #[serde(default)]
    zeros: bool,
    /// Both are sent as nobody, who has no rights.
    #[serde(default)]
    nobody: bool,
    /// Words that the report must have.
    #[serde(default)]
    says: Vec<String>,
}

#[derive(Deserialize)]
struct Table {
    pair: Vec<Pair>,
}

/// Few packets in little time.
const FEW: &str = "-c 2 -i 0.1 -W 1";

/// How many pairs are tried at a time: most of their time is waiting.
const SIDE_BY_SIDE: usize = 6;

/// How many differences may be of one moment only: ping waits a second for a reply, and a machine that pauses for longer between
/// the two runs makes one that neither program does. What differs in a second pair of hosts as well is probe's.
const OF_ONE_MOMENT: usize = 2;

#[test]
fn ping_and_probe_are_answered_alike_with_the_same_flags_on_every_host() {
    if !common::is_root("ping_and_probe_are_answered_alike_with_the_same_flags_on_every_host") {
        return;
    }
    let table: Table = toml::from_str(include_str!("pairs.toml")).expect("a table of pairs");
    assert!(table.pair.len() >= 80, "{} pairs", table.pair.len());
    let tries = table.pair.iter().flat_map(|pair| pair.tried.iter().map(move |tried| (pair, tried.as_str())));
    let tries: Mutex<VecDeque<_>> = Mutex::new(tries.collect());
    let count = tries.lock().unwrap_or_else(PoisonError::into_inner).len();
    let (differ, of_one_moment) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((pair, tried)) = next(&tries) {
                    let Some(difference) = differs(pair, tried) else { continue };
                    let list = if differs(pair, tried).is_some() { &differ } else { &of_one_moment };
                    list.lock().unwrap_or_else(PoisonError::into_inner).push(difference);
                }
            });
        }
    });
    let [mut differ, of_one_moment] =
        [differ, of_one_moment].map(|list| list.into_inner().unwrap_or_else(PoisonError::into_inner));
    if of_one_moment.len() > OF_ONE_MOMENT {
        differ.extend(of_one_moment);
    } else if !of_one_moment.is_empty() {
        eprintln!("differed once, and not the second time:\n{}", of_one_moment.join("\n"));
    }
    assert!(differ.is_empty(), "{} of {count} agree:\n{}", count - differ.len(), differ.join("\n"));
}

fn next<T>(tries: &Mutex<VecDeque<T>>) -> Option<T> {
    tries.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// How a program fared.
#[derive(Debug, PartialEq, Eq)]
struct Fared {
    /// How many replies it had, each request's once.
    answered: u64,
    /// Whether it ended as if something was answered; probe ends so only where all were, and unaltered.
    well: bool,
}

/// Tries both; what differs, if anything does.
fn differs(pair: &Pair, tried: &str) -> Option<String> {
    let world = World::new();
    let to = match tried.split_once(' ').expect("a target and a kind of socket") {
        (to, "raw") => to,
        (to, "ping") => {
            world.allow_ping_sockets();
            to
        }
        (_, other) => panic!("{other} is no kind of socket"),
    };
    sh(&world.a, &pair.a);
    sh(&world.b, &pair.b);
    let _zeros = pair.zeros.then(|| Zeros::at(&world.b));
    let target = match to {
        "4" => B4,
        "6" => B6,
        other => other,
    };
    let words = format!("{FEW} {} {target}", pair.flags);
    let ping = ran_ping(&world, &words, pair.nobody);
    let sender = if pair.nobody { " --as user:65534" } else { "" };
    let (probe, report) = ran_probe(&world, &format!("{words}{sender}"));
    let told = report["verdict"]["sentence"].as_str().unwrap_or_default();
    let named = format!("[{tried}] {}: ping {ping:?}, probe {probe:?} {told} {}", pair.name, report["notes"]);
    // Partly lost or answered by another is success for ping only; the sentence says which it is.
    let same_end = ping.well == probe.well || ping.well && probe.answered > 0 && !told.is_empty();
    if ping.answered != probe.answered || !same_end {
        return Some(format!("DIFFERENT {named}"));
    }
    let text = format!("{told} {}", report["notes"]);
    let missing = pair.says.iter().find(|words| !text.contains(words.as_str()))?;
    Some(format!("'{missing}' is not said: {named}"))
}

fn ran_ping(world: &World, words: &str, nobody: bool) -> Fared {
    let mut ping = world.a.command(if nobody { "setpriv" } else { "ping" });
    if nobody {
        ping.args("--reuid 65534 --regid 65534 --clear-groups ping".split(' '));
    }
    let output = ping.args(words.split_whitespace()).stdin(Stdio::null()).output().expect("ping is there");
    let text = String::from_utf8_lossy(&output.stdout);
    let count = text.lines().find_map(|line| {
        let before = line.split(" received").next().filter(|before| before.len() < line.len())?;
        before.rsplit(' ').next()?.parse().ok()
    });
    // Where it sent nothing, it does not count.
    Fared { answered: count.unwrap_or(0), well: output.status.success() }
}

fn ran_probe(world: &World, words: &str) -> (Fared, Value) {
    let mut probe = command(&world.a, &format!("diagnose {words} --format json"));
    probe.env_remove("PROBE_OWN_NAMESPACE");
    let ran = Ran::of(probe.output().expect("probe starts"));
    let report = ran.documents().pop().unwrap_or_default();
    (Fared { answered: report["answered"].as_u64().unwrap_or(0), well: ran.code == 0 }, report)
}
