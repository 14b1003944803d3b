//! Counts the results in the output of the test programs: how many tests passed, failed, and were skipped.

use std::collections::BTreeSet;

/// The counts so far, and the position in the output.
#[derive(Debug, Default)]
pub(crate) struct TestSum {
    passed: u64,
    /// Tests that failed.
    pub(crate) failed: u64,
    ignored: u64,
    /// Tests that could not run here and returned; the test program counts them as passed.
    skipped: BTreeSet<String>,
    /// The names of the tests that failed.
    failures: BTreeSet<String>,
    /// What was reported as not tried because this machine or its kernel lacks something, which is not a failure.
    untried: BTreeSet<String>,
    /// How many of these are tests of their own, which the test program counts as ignored.
    untried_tests: u64,
    /// Whether this is in the list of the output of passing tests, which is not shown.
    in_successes: bool,
    /// What the failing tests printed, at most [`MOST_REASONS`] lines of it.
    reasons: Vec<String>,
    /// Whether this is in the output of a failing test.
    in_failure: bool,
}

/// How many lines of failing tests are kept for the end of the output.
const MOST_REASONS: usize = 60;

impl TestSum {
    /// Reads one line of the output; returns whether to show it on the screen.
    pub(crate) fn take(&mut self, line: &str) -> bool {
        let line = plain(line);
        let line = line.trim();
        if line == "successes:" {
            self.in_successes = true;
        } else if line == "failures:" || line.starts_with("test result:") {
            self.in_successes = false;
        }
        self.keep_reason(line);
        // With one test thread, what a test prints at once follows its name on the same line.
        if let Some(at) = line.find("SKIPPED").filter(|at| *at == 0 || line[..*at].ends_with("... ")) {
            return self.skipped.insert(line[at..].to_owned());
        }
        if line.contains("not tried: ") {
            self.untried_tests += u64::from(line.starts_with("test "));
            return self.untried.insert(line.to_owned());
        }
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.insert(name.trim_end().to_owned());
        }
        if let Some(result) = line.strip_prefix("test result:") {
            self.passed += number_before(result, "passed");
            self.failed += number_before(result, "failed");
            self.ignored += number_before(result, "ignored");
        }
        !self.in_successes
    }

    /// Keeps a line of what a failing test printed.
    fn keep_reason(&mut self, line: &str) {
        if line.starts_with("test result:") || line == "failures:" || line == "successes:" {
            self.in_failure = false;
        } else if line.starts_with("---- ") && !self.in_successes {
            self.in_failure = true;
        }
        if self.in_failure && !line.is_empty() && self.reasons.len() < MOST_REASONS {
            self.reasons.push(line.to_owned());
        }
    }

    /// Returns the first lines of what the failing tests printed.
    pub(crate) fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Returns the messages of tests that skipped themselves.
    pub(crate) fn skips(&self) -> impl Iterator<Item = &str> {
        self.skipped.iter().map(String::as_str)
    }

    /// Returns the names of the tests that failed.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &str> {
        self.failures.iter().map(String::as_str)
    }

    /// Reports whether no test ran.
    pub(crate) fn is_empty(&self) -> bool {
        self.passed + self.failed + self.ignored == 0
    }

    /// Formats `N passed, N failed, N skipped`. Each test counts once, so one that skipped itself isn't among the passed. If
    /// something was not tried, adds how much.
    pub(crate) fn line(&self) -> String {
        // A test that must not skip itself says what it lacks, and fails.
        let is_named = |failure: &String, name: &str| {
            failure.strip_suffix(name).is_some_and(|modules| modules.is_empty() || modules.ends_with("::"))
        };
        let has_failed = |line: &&String| {
            line.rsplit(' ').next().is_some_and(|name| self.failures.iter().any(|failure| is_named(failure, name)))
        };
        let skipped = self.skipped.iter().filter(|line| !has_failed(line)).count() as u64;
        let passed = self.passed.saturating_sub(skipped);
        let skipped = self.ignored.saturating_sub(self.untried_tests) + skipped;
        let untried =
            if self.untried.is_empty() { String::new() } else { format!(", {} not tried", self.untried.len()) };
        format!("{passed} passed, {} failed, {skipped} skipped{untried}", self.failed)
    }
}

fn number_before(text: &str, word: &str) -> u64 {
    let mut words = text.split([' ', ';', '.']).filter(|part| !part.is_empty()).peekable();
    while let Some(number) = words.next() {
        if words.peek() == Some(&word) {
            return number.parse().unwrap_or_default();
        }
    }
    0
}

/// Returns the line without its colours.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut parts = line.split('\x1b');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        text.push_str(part.find('m').map_or(part, |end| &part[end + 1..]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str) -> (TestSum, String) {
        let mut tally = TestSum::default();
        let shown = output.lines().filter(|line| tally.take(line)).collect::<Vec<_>>().join("\n");
        (tally, shown)
    }

    #[test]
    fn results_of_several_programs_are_added_with_and_without_colours() {
        let (tally, shown) = tally(
            "test a ... ok\ntest result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             test result: \x1b[31mFAILED\x1b[0m. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.00s",
        );
        assert_eq!(tally.line(), "15 passed, 2 failed, 1 skipped");
        assert_eq!(shown.lines().count(), 3);
    }

    #[test]
    fn a_test_that_skips_itself_is_not_among_the_passed() {
        let (tally, shown) = tally(
            "SKIPPED (needs root): attaches\ntest loads ... SKIPPED (needs root): loads\nok\n\
             successes:\n\n---- counts stdout ----\nnoise\nSKIPPED (needs root): counts\n\nsuccesses:\n    counts\n\n\
             test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        assert_eq!(tally.line(), "1 passed, 0 failed, 3 skipped");
        assert!(!shown.contains("noise") && !shown.contains("successes"));
        assert_eq!(shown.matches("SKIPPED").count(), 3);
    }

    #[test]
    fn a_test_that_may_not_skip_itself_has_failed_and_no_more() {
        let (tally, _) = tally(
            "SKIPPED (needs root): attaches\ntest hops::attaches ... FAILED\ntest hops::names ... ok\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        assert_eq!(tally.line(), "1 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn what_was_not_tried_is_counted_beside_the_skipped() {
        let (tally, shown) = tally(
            "test faults::a::v4   ... ok\ntest faults::b::v4  ... ignored (not tried: x is not installed)\n\
             not tried: this kernel has no geneve\nnot tried: this kernel has no geneve\n\
             test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        assert_eq!(tally.line(), "1 passed, 0 failed, 0 skipped, 2 not tried");
        assert_eq!(shown.lines().count(), 4, "{shown}");
    }

    #[test]
    fn a_case_that_failed_is_known_by_its_whole_name() {
        let (tally, _) =
            tally("test faults::a::v4      ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured");
        assert!(tally.failures().eq(["faults::a::v4"]) && !tally.is_empty());
    }

    #[test]
    fn what_failing_tests_printed_stays_on_the_screen() {
        let (_, shown) = tally("successes:\n    a\n\nfailures:\n\n---- b stdout ----\nassertion failed\n");
        assert_eq!(shown, "failures:\n\n---- b stdout ----\nassertion failed");
    }

    #[test]
    fn what_failing_tests_printed_is_kept_for_the_end() {
        let (tally, _) = tally(
            "successes:\n\n---- a stdout ----\nfine\n\nsuccesses:\n    a\n\nfailures:\n\n---- b stdout ----\n\n2 of 3 agree\n\n\
             failures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\ntest c ... ok",
        );
        assert_eq!(tally.reasons(), ["---- b stdout ----", "2 of 3 agree"]);
    }
}
