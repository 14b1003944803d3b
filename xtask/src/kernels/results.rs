//! Sorts the output of the guest: which step wrote it, how the step ended, and whether that is good.

use std::collections::BTreeMap;

use serde_json::Value;

use super::guest::MARK;
use crate::test::tally::TestSum;

/// A test that skips itself for this reason lacks a feature of the kernel, which it names; no other reason is accepted.
const LACKS: &str = "needs Linux ";

/// A step that has ended, or was cut off.
#[derive(Debug)]
pub(crate) struct GuestStep {
    /// Its line in the plan.
    pub(crate) words: String,
    /// How it ended; empty if it did not.
    pub(crate) end: String,
    /// How long it took.
    pub(crate) seconds: u64,
    /// What it printed.
    pub(crate) lines: Vec<String>,
    /// The tests that had to be killed.
    pub(crate) hung: Vec<String>,
}

/// Sorts lines into steps.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// The steps so far; the last may not have ended.
    pub(crate) steps: Vec<GuestStep>,
    /// The modules that the kernel refused, each with the reason.
    pub(crate) lacking: Vec<String>,
}

impl Results {
    /// Takes a line; returns the step that it ended.
    pub(crate) fn take(&mut self, line: &str) -> Option<&GuestStep> {
        // A program may leave the cursor in the middle of a line.
        let Some((before, marked)) = line.split_once(MARK) else {
            self.steps.last_mut()?.lines.push(line.to_owned());
            return None;
        };
        if let Some(step) = self.steps.last_mut().filter(|_| !before.is_empty()) {
            step.lines.push(before.to_owned());
        }
        if let Some(words) = marked.strip_prefix("begin ") {
            let words = words.to_owned();
            self.steps.push(GuestStep { words, end: String::new(), seconds: 0, lines: Vec::new(), hung: Vec::new() });
        } else if let Some(module) = marked.strip_prefix("lacks ") {
            self.lacking.push(module.to_owned());
        } else if let Some(test) = marked.strip_prefix("hung ") {
            self.steps.last_mut()?.hung.push(test.to_owned());
        } else if let Some((seconds, end)) = marked.strip_prefix("end ").and_then(|rest| rest.split_once(' ')) {
            let step = self.steps.last_mut()?;
            (step.seconds, step.end) = (seconds.parse().unwrap_or_default(), end.to_owned());
            return Some(step);
        }
        None
    }
}

/// The result of a step, and whether it is good.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The result in one line, followed by details.
    pub(crate) lines: Vec<String>,
    /// Whether something is wrong.
    pub(crate) bad: bool,
}

/// Judges the tests of a topic.
pub(crate) fn topic(step: &GuestStep) -> Judgement {
    let mut tally = TestSum::default();
    for line in &step.lines {
        tally.take(line);
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut bad = step.end != "code 0" || tally.failed > 0;
    for skip in tally.skips() {
        let reason = skip.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or(skip, |(reason, _)| reason);
        bad |= !reason.starts_with(LACKS);
        *reasons.entry(reason).or_default() += 1;
    }
    let mut lines = vec![tally.line()];
    lines.extend(reasons.iter().map(|(reason, count)| format!("skipped {count}: {reason}")));
    lines.extend(tally.failures().map(|name| format!("FAILED {name}")));
    lines.extend(step.hung.iter().map(|name| format!("HUNG {name}: it said nothing for too long and was killed")));
    lines.extend(panics(step));
    if step.end != "code 0" && tally.failed == 0 {
        lines.push(format!("FAILED as a whole: {}", step.end));
    }
    Judgement { lines, bad }
}

/// Returns where tests panicked, and the first line of the reason.
fn panics(step: &GuestStep) -> impl Iterator<Item = String> {
    let pairs = step.lines.windows(2).filter(|pair| pair[0].contains(" panicked at "));
    pairs.map(|pair| format!("{} {}", pair[0].trim(), pair[1].chars().take(300).collect::<String>()))
}

/// Judges which hops the kernel leaves blind, according to `probe doctor`.
pub(crate) fn doctor(step: &GuestStep) -> Judgement {
    let Some(document) = document(step) else { return no_document(step) };
    let hops = document["hops"].as_array().into_iter().flatten();
    let blind: Vec<String> = hops
        .filter(|hop| hop["available"] != true)
        .map(|hop| format!("blind: {}: {}", text(&hop["hop"]), text(&hop["why"])))
        .collect();
    let count = document["hops"].as_array().map_or(0, Vec::len);
    let mut lines = vec![format!("{} of {count} hops can be watched", count - blind.len())];
    lines.extend(blind);
    Judgement { lines, bad: count == 0 }
}

/// Judges the score of `probe lab faults`: every case that was measured must be right. An emulated machine may be too slow
/// for some, which says nothing about the kernel: up to a quarter of the cases may be.
pub(crate) fn faults(step: &GuestStep) -> Judgement {
    let Some(document) = document(step) else { return no_document(step) };
    let number = |name: &str| document[name].as_u64().unwrap_or_default();
    let (located, total, false_stops) = (number("located"), number("total"), number("false_stops"));
    let mut lines = vec![format!("{located} of {total} cases diagnosed correctly, {false_stops} false stops")];
    let mut slow = 0;
    for case in document["cases"].as_array().into_iter().flatten().filter(|case| case["located"] != true) {
        let wrong: Vec<&str> = case["wrong"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let why = wrong.join("; ");
        let is_slow = case["got"].is_null() && why.contains(" within ");
        slow += u64::from(is_slow);
        let word = if is_slow { "too slow" } else { "WRONG" };
        lines.push(format!("{word} {} IPv{}: {why}", text(&case["name"]), case["family"]));
    }
    for left in document["left_out"].as_array().into_iter().flatten() {
        lines.push(format!("left out {}: {}", text(&left["name"]), text(&left["why"])));
    }
    let is_bad = located + slow < total || slow * 4 > total || total == 0 || false_stops > 0 || number("unreached") > 0;
    Judgement { lines, bad: is_bad }
}

fn no_document(step: &GuestStep) -> Judgement {
    let mut lines = vec![format!("FAILED: no document; {}", step.end)];
    lines.extend(step.lines.iter().rev().take(5).rev().cloned());
    Judgement { lines, bad: true }
}

fn document(step: &GuestStep) -> Option<Value> {
    step.lines.iter().rev().find_map(|line| serde_json::from_str(line).ok().filter(Value::is_object))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(output: &str) -> GuestStep {
        let mut results = Results::default();
        for line in output.lines() {
            results.take(line);
        }
        results.steps.pop().unwrap()
    }

    #[test]
    fn lines_belong_to_the_step_that_printed_them() {
        let mut results = Results::default();
        let lines = ["@@ up 6.1", "@@ lacks nft_foo: no", "@@ begin topic a 9", "x", "half@@ end 3 code 0", "@@ done"];
        let ended: Vec<_> =
            lines.iter().filter_map(|line| results.take(line).map(|step| (step.words.clone(), step.seconds))).collect();
        assert_eq!(ended, [("topic a 9".to_owned(), 3)]);
        assert_eq!(results.steps[0].lines, ["x", "half"]);
        assert_eq!(results.lacking, ["nft_foo: no"]);
    }

    #[test]
    fn a_skip_counts_against_a_topic_unless_the_kernel_lacks_what_it_names() {
        let lacks = step(
            "@@ begin topic a 9\nSKIPPED (needs Linux 6.4: netfilter links): b\ntest b ... ok\ntest c ... ok\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n@@ end 3 code 0",
        );
        let lines = ["1 passed, 0 failed, 1 skipped", "skipped 1: needs Linux 6.4: netfilter links"].map(String::from);
        assert_eq!(topic(&lacks), Judgement { lines: lines.to_vec(), bad: false });
        let other = step(
            "@@ begin topic a 9\nSKIPPED (needs root): b\ntest b ... ok\n\
             test result: ok. 1 passed; 0 failed; 0 ignored\n@@ end 3 code 0",
        );
        assert!(topic(&other).bad);
    }

    #[test]
    fn a_topic_that_fails_or_is_killed_is_bad_and_says_what() {
        let failed = step(
            "@@ begin topic a 9\ntest m::b ... FAILED\nthread 'm::b' (1) panicked at a.rs:1:2:\nwhy\nmore\ntest result: FAILED. 0 passed; 1 failed\n@@ end 3 code 101",
        );
        assert_eq!(
            topic(&failed).lines,
            ["0 passed, 1 failed, 0 skipped", "FAILED m::b", "thread 'm::b' (1) panicked at a.rs:1:2: why"]
        );
        assert!(topic(&failed).bad);
        let hung = step(
            "@@ begin topic a 9\ntest b ... ok\ntest c ... \ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n@@ hung c\n\
             test d ... ok\ntest result: ok. 1 passed; 0 failed; 0 ignored\n@@ end 9 a test hung",
        );
        let lines = ["2 passed, 1 failed, 0 skipped", "HUNG c: it said nothing for too long and was killed"];
        assert_eq!(topic(&hung), Judgement { lines: lines.map(String::from).to_vec(), bad: true });
        let killed = step("@@ begin topic a 9\ntest b ... \n@@ end 9 took too long and was killed");
        assert_eq!(topic(&killed).lines[1], "FAILED as a whole: took too long and was killed");
        assert!(topic(&killed).bad);
    }

    #[test]
    fn documents_are_read_and_a_missing_one_is_bad() {
        let doctor_step = step(
            "@@ begin run 9 probe\n{\"hops\":[{\"hop\":\"xdp_in\",\"available\":true},\
             {\"hop\":\"nf_input\",\"available\":false,\"why\":\"needs 6.4\"}]}\n@@ end 1 code 0",
        );
        assert_eq!(doctor(&doctor_step).lines, ["1 of 2 hops can be watched", "blind: nf_input: needs 6.4"]);
        let score = step(
            "@@ begin run 9 probe\n{\"located\":1,\"total\":2,\"false_stops\":0,\"cases\":[{\"name\":\"a\",\"family\":4,\
             \"located\":false,\"wrong\":[\"layer ip\"]}]}\n@@ end 1 code 1",
        );
        assert_eq!(faults(&score).lines[1], "WRONG a IPv4: layer ip");
        assert!(faults(&score).bad);
        let slow = |total: u64| {
            step(&format!(
                "@@ begin run 9 probe\n{{\"located\":{},\"total\":{total},\"false_stops\":0,\"cases\":[{{\"name\":\"a\",\
                 \"family\":4,\"located\":false,\"got\":null,\"wrong\":[\"no diagnosis: it did not end within 30 s\"]}}]}}\n\
                 @@ end 1 code 1",
                total - 1
            ))
        };
        assert_eq!(faults(&slow(4)).lines[1], "too slow a IPv4: no diagnosis: it did not end within 30 s");
        assert!(!faults(&slow(4)).bad && faults(&slow(3)).bad);
        assert!(faults(&step("@@ begin run 9 probe\nerror: no\n@@ end 1 code 2")).bad);
    }
}
