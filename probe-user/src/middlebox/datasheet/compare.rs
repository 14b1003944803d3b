//! Two datasheets beside each other: what is the same, what differs, what one of them does not know.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Datasheet,
    fact::Fact,
    finding::{Answer, Finding, IdPolicy},
};

/// Two datasheets, fact by fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// What the first is called.
    pub left: String,
    /// What the second is called.
    pub right: String,
    /// The facts of both.
    pub facts: Vec<Compared>,
    /// How many are the same.
    pub same: usize,
    /// How many differ.
    pub different: usize,
}

/// One fact of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// The fact.
    pub fact: Fact,
    /// How the answers stand to each other.
    pub result: Match,
    /// The first one's answer in words.
    pub left: String,
    /// The second one's.
    pub right: String,
}

/// How two answers stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Match {
    /// They say the same, as far as they were measured.
    Same,
    /// They exclude each other.
    Different,
    /// One of them has no answer.
    Unknown,
}

/// Compares two datasheets that people call `left` and `right`.
pub fn compare((left, one): (&str, &Datasheet), (right, other): (&str, &Datasheet)) -> Comparison {
    let known = |fact: &Fact| one.finding(*fact).is_some() || other.finding(*fact).is_some();
    let facts: Vec<Compared> = Fact::ALL
        .into_iter()
        .filter(known)
        .map(|fact| compared(fact, one.finding(fact), other.finding(fact)))
        .collect();
    let count = |result| facts.iter().filter(|compared| compared.result == result).count();
    let (same, different) = (count(Match::Same), count(Match::Different));
    Comparison { left: left.to_owned(), right: right.to_owned(), facts, same, different }
}

fn compared(fact: Fact, one: Option<&Finding>, other: Option<&Finding>) -> Compared {
    let words =
        |finding: Option<&Finding>| finding.map_or_else(|| "not tested".to_owned(), |found| found.answer.clone());
    let known = |finding: Option<&Finding>| finding.map(|found| found.value.clone()).filter(Answer::is_known);
    let result = match (known(one), known(other)) {
        (Some(one), Some(other)) if agree(&one, &other) => Match::Same,
        (Some(_), Some(_)) => Match::Different,
        _ => Match::Unknown,
    };
    Compared { fact, result, left: words(one), right: words(other) }
}

/// Times are the same where their bounds overlap, policies where they are of one kind, all else where it is equal.
fn agree(one: &Answer, other: &Answer) -> bool {
    if let (Some(one), Some(other)) = (bounds(one), bounds(other)) {
        return one.0 <= other.1 && other.0 <= one.1;
    }
    match (one, other) {
        (Answer::Unlimited { .. }, Answer::Unlimited { .. }) => true,
        (Answer::Until { low, high }, Answer::Until { low: other_low, high: other_high }) => {
            low <= other_high && other_low <= high
        }
        (Answer::Nat { address, id }, Answer::Nat { address: other_address, id: other_id }) => {
            let ranges = matches!((id, other_id), (IdPolicy::Range { .. }, IdPolicy::Range { .. }));
            address == other_address && (id == other_id || ranges)
        }
        (Answer::Rate { free, limited, .. }, Answer::Rate { free: other_free, limited: other_limited, .. }) => {
            free < other_limited && other_free < limited
        }
        _ => one == other,
    }
}

/// Between which times something ends, in seconds.
fn bounds(answer: &Answer) -> Option<(f64, f64)> {
    match answer {
        Answer::Between { low, high } => Some((*low, *high)),
        Answer::Beyond { low } => Some((*low, f64::INFINITY)),
        Answer::Under { high } => Some((0.0, *high)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::datasheet::finding::Confidence;

    fn sheet(timeout: Answer, state: Answer) -> Datasheet {
        let found = |fact, value| Finding::new(fact, value, Confidence::Certain, Vec::new(), None);
        Datasheet {
            family: 4,
            near: None,
            far: None,
            facts: vec![found(Fact::State, state), found(Fact::Timeout, timeout)],
            fingerprint: Vec::new(),
            control_packets: 0,
            control_packets_lost: 0,
            clock_error_s: 0.0,
            notes: Vec::new(),
        }
    }

    fn between(low: f64, high: f64) -> Answer {
        Answer::Between { low, high }
    }

    fn result(one: Answer, other: Answer) -> Match {
        let (one, other) = (sheet(one, Answer::Yes), sheet(other, Answer::Yes));
        compare(("a", &one), ("b", &other)).facts[1].result
    }

    #[test]
    fn times_are_the_same_where_their_bounds_overlap() {
        assert_eq!(result(between(29.9, 30.1), between(30.0, 30.3)), Match::Same);
        assert_eq!(result(between(29.9, 30.1), between(19.9, 20.1)), Match::Different);
        assert_eq!(result(Answer::Beyond { low: 120.0 }, between(599.0, 601.0)), Match::Same);
        assert_eq!(result(Answer::Beyond { low: 120.0 }, between(29.0, 31.0)), Match::Different);
        assert_eq!(result(Answer::Under { high: 0.5 }, between(29.0, 31.0)), Match::Different);
        assert_eq!(result(Answer::Inconclusive, between(29.0, 31.0)), Match::Unknown);
    }

    #[test]
    fn the_counts_are_those_of_the_facts() {
        let (one, other) = (sheet(between(1.0, 2.0), Answer::Yes), sheet(between(1.0, 2.0), Answer::No));
        let comparison = compare(("a", &one), ("b", &other));
        assert_eq!((comparison.same, comparison.different, comparison.facts.len()), (1, 1, 2));
    }
}
