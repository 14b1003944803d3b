//! Experiment files that work, and what is said of those that do not.

use super::*;
use crate::middlebox::{
    experiment::{Expect, StepRole, builtin},
    timeline::Endpoint,
};

const GOOD: &str = r#"
name = "mine"
title = "one reply, unasked"
repeat = 2

[id]
X = 0x2b

[[step]]
wait = 1

[[step]]
from = "far"
send = "reply"
id = "X"
count = 3
expect = "stops"
role = "case"
means.stops = "Something remembers requests."
"#;

#[test]
fn a_file_says_who_sends_what() {
    let script = Script::parse("mine.toml", GOOD).expect("a script");
    assert_eq!((script.repeat, script.fixed["X"], script.packets()), (2, 43, 3));
    assert_eq!(script.steps[0], ScriptStep::Wait(Duration::from_secs(1)));
    let (place, sends) = script.sends().next().expect("a step that sends");
    assert_eq!((place, sends.from, sends.expect, sends.role), (1, Endpoint::Far, Expect::Stops, StepRole::Case));
    assert_eq!(sends.means.stops.as_deref(), Some("Something remembers requests."));
}

/// Asserts which line is blamed, and with which words, when `old` is replaced by `new`.
#[track_caller]
fn wrong(old: &str, new: &str, place: &str, said: &str) {
    assert!(GOOD.contains(old), "{old}");
    let error = Script::parse("mine.toml", &GOOD.replace(old, new)).expect_err(new).to_string();
    assert!(error.starts_with(&format!("mine.toml{place}: ")) && error.contains(said), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn every_error_names_its_line() {
    wrong("from = \"far\"", "from = \"away\"", ":13", "expected `near` or `far`");
    wrong("count = 3", "cuont = 3", ":16", "unknown field `cuont`");
    wrong("count = 3", "count = 0", ":16", "count must be from 1 to 1024");
    wrong("count = 3", "count = 600", ":4", "1200 packets");
    wrong("repeat = 2", "repeat = 21", ":4", "repeat must be from 1 to 20");
    wrong("X = 0x2b", "X = 70000", ":7", "70000 is not an id");
    wrong("X = 0x2b", "X = \"seven\"", ":7", "'seven' is not a number");
    wrong("X = 0x2b", "X = 0x2b\nY = 1", "", "Y, which no step uses");
    wrong("wait = 1", "wait = -1", ":10", "seconds");
    wrong("wait = 1", "wait = 1\nfrom = \"near\"", ":9", "cannot have other keys");
    wrong("wait = 1", "", ":9", "needs wait");
    wrong("id = \"X\"", "", ":12", "needs id");
    wrong("id = \"X\"", "id = \"Z\"", "", "[id] names X");
    wrong("send = \"reply\"", "send = \"error\"", ":15", "quotes a packet that the other end sent before");
    wrong("count = 3", "size = 4", ":16", "size must be from");
    wrong("count = 3", "interval = 0", ":16", "seconds from 0.001");
    wrong("title = \"one reply, unasked\"", "title = one", ":3", "");
}

#[test]
fn a_file_that_sends_nothing_is_refused() {
    let error = Script::parse("mine.toml", "name = \"a\"\ntitle = \"b\"\n").expect_err("nothing to do");
    assert!(error.to_string().contains("nothing is sent"), "{error}");
}

#[test]
fn every_built_in_experiment_is_such_a_file() {
    for (name, text) in builtin::TEXTS {
        let script = Script::parse(name, text).expect(name);
        assert_eq!(script.name, name);
        assert!(script.question.is_some() && !script.title.is_empty(), "{name}");
        let role = |wanted| script.sends().filter(|(_, sends)| sends.role == wanted).collect::<Vec<_>>();
        assert!(!role(StepRole::Case).is_empty(), "{name} has no case");
        let controls = role(StepRole::Control);
        for expect in [Expect::Arrives, Expect::Stops] {
            assert!(controls.iter().any(|(_, sends)| sends.expect == expect), "{name} has no control that {expect:?}");
        }
    }
}
