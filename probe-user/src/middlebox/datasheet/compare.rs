//! Compares two datasheets: what is the same, what differs, what one of them does not know.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Datasheet,
    fact::Fact,
    finding::{FactFinding, FactValue, IdPolicy},
    measure::{Measure, measures},
};

/// Two datasheets, fact by fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// The name of the first.
    pub left: String,
    /// The name of the second.
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
    /// Whether the answers agree.
    pub result: Agreement,
    /// The first one's answer in words.
    pub left: String,
    /// The second one's.
    pub right: String,
    /// The first one's answer as data; none if it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_value: Option<FactValue>,
    /// The second one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_value: Option<FactValue>,
    /// The numbers of the first one's answer, each with its unit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_measures: Vec<Measure>,
    /// Those of the second one's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub right_measures: Vec<Measure>,
}

/// Whether two answers agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Agreement {
    /// They agree, as far as they were measured.
    Same,
    /// They exclude each other.
    Different,
    /// One of them has no answer.
    Unknown,
}

/// Compares two datasheets, which are named `left` and `right`.
pub fn compare((left, one): (&str, &Datasheet), (right, other): (&str, &Datasheet)) -> Comparison {
    let known = |fact: &Fact| one.finding(*fact).is_some() || other.finding(*fact).is_some();
    let facts: Vec<Compared> = Fact::ALL
        .into_iter()
        .filter(known)
        .map(|fact| compared(fact, one.finding(fact), other.finding(fact)))
        .collect();
    let count = |result| facts.iter().filter(|compared| compared.result == result).count();
    let (same, different) = (count(Agreement::Same), count(Agreement::Different));
    Comparison { left: left.to_owned(), right: right.to_owned(), facts, same, different }
}

fn compared(fact: Fact, one: Option<&FactFinding>, other: Option<&FactFinding>) -> Compared {
    let words =
        |finding: Option<&FactFinding>| finding.map_or_else(|| "not tested".to_owned(), |found| found.answer.clone());
    let known = |finding: Option<&FactFinding>| finding.map(|found| found.value.clone()).filter(FactValue::is_known);
    let result = match (known(one), known(other)) {
        (Some(one), Some(other)) if agree(&one, &other) => Agreement::Same,
        (Some(_), Some(_)) => Agreement::Different,
        _ => Agreement::Unknown,
    };
    let value = |finding: Option<&FactFinding>| finding.map(|found| found.value.clone());
    // Not those that were read: a datasheet of an older version has none.
    let numbers = |finding: Option<&FactFinding>| finding.map_or_else(Vec::new, |found| measures(fact, &found.value));
    Compared {
        fact,
        result,
        left: words(one),
        right: words(other),
        left_value: value(one),
        right_value: value(other),
        left_measures: numbers(one),
        right_measures: numbers(other),
    }
}

/// Returns whether two answers agree: times if their bounds overlap, policies if they are of one kind, all others if
/// they are equal.
fn agree(one: &FactValue, other: &FactValue) -> bool {
    if let (Some(one), Some(other)) = (bounds(one), bounds(other)) {
        return one.0 <= other.1 && other.0 <= one.1;
    }
    match (one, other) {
        (FactValue::Unlimited { .. }, FactValue::Unlimited { .. }) => true,
        (FactValue::Until { low, high }, FactValue::Until { low: other_low, high: other_high }) => {
            low <= other_high && other_low <= high
        }
        (FactValue::Nat { address, id }, FactValue::Nat { address: other_address, id: other_id }) => {
            let ranges = matches!((id, other_id), (IdPolicy::Range { .. }, IdPolicy::Range { .. }));
            address == other_address && (id == other_id || ranges)
        }
        (FactValue::Rate { free, limited, .. }, FactValue::Rate { free: other_free, limited: other_limited, .. }) => {
            free < other_limited && other_free < limited
        }
        _ => one == other,
    }
}

/// Returns the two times between which something expires, in seconds.
fn bounds(answer: &FactValue) -> Option<(f64, f64)> {
    match answer {
        FactValue::Between { low, high } => Some((*low, *high)),
        FactValue::Beyond { low } => Some((*low, f64::INFINITY)),
        FactValue::Under { high } => Some((0.0, *high)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::verdict::Confidence;

    fn sheet(timeout: FactValue, state: FactValue) -> Datasheet {
        let found = |fact, value| FactFinding::new(fact, value, Confidence::Certain, Vec::new(), None);
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

    fn between(low: f64, high: f64) -> FactValue {
        FactValue::Between { low, high }
    }

    fn result(one: FactValue, other: FactValue) -> Agreement {
        let (one, other) = (sheet(one, FactValue::Yes), sheet(other, FactValue::Yes));
        compare(("a", &one), ("b", &other)).facts[1].result
    }

    #[test]
    fn times_are_the_same_where_their_bounds_overlap() {
        assert_eq!(result(between(29.9, 30.1), between(30.0, 30.3)), Agreement::Same);
        assert_eq!(result(between(29.9, 30.1), between(19.9, 20.1)), Agreement::Different);
        assert_eq!(result(FactValue::Beyond { low: 120.0 }, between(599.0, 601.0)), Agreement::Same);
        assert_eq!(result(FactValue::Beyond { low: 120.0 }, between(29.0, 31.0)), Agreement::Different);
        assert_eq!(result(FactValue::Under { high: 0.5 }, between(29.0, 31.0)), Agreement::Different);
        assert_eq!(result(FactValue::Inconclusive, between(29.0, 31.0)), Agreement::Unknown);
    }

    #[test]
    fn the_counts_are_those_of_the_facts() {
        let (one, other) = (sheet(between(1.0, 2.0), FactValue::Yes), sheet(between(1.0, 2.0), FactValue::No));
        let comparison = compare(("a", &one), ("b", &other));
        assert_eq!((comparison.same, comparison.different, comparison.facts.len()), (1, 1, 2));
        let timeout = &comparison.facts[1];
        assert_eq!(timeout.left_value, Some(between(1.0, 2.0)));
        assert_eq!(timeout.right_measures[0].value, Some(1.5));
    }
}
