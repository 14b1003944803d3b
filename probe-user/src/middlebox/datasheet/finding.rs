//! What was found out about one question: the answer, how sure it is, and the counts behind it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::answer::{FactValue, IdPolicy, Rewriting};
use super::{
    fact::Fact,
    measure::{Figure, Measure, Unit, measures},
};
use crate::model::verdict::Confidence;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FactFinding {
    /// The question.
    pub fact: Fact,
    /// The answer in words.
    pub answer: String,
    /// The answer as data.
    pub value: FactValue,
    /// The numbers of the answer, each with its unit; none if the answer is a word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measures: Vec<Measure>,
    /// How sure it is.
    pub confidence: Confidence,
    /// What was counted, one entry for each kind of trial.
    pub evidence: Vec<TrialCount>,
    /// A note for the reader: why there is no answer, or what else it could mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How often one kind of trial was made, and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialCount {
    /// What was tried.
    pub what: String,
    /// The number that sets it apart from other trials of its kind: a time, a rate, a size, a number of replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Figure>,
    /// How often the packet that it is about passed.
    pub passed: u32,
    /// How many trials were completed.
    pub of: u32,
    /// How many trials were void: a packet that they build on was lost, or stopped by its own host.
    #[serde(default, skip_serializing_if = "is_none")]
    pub void: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_none(void: &u32) -> bool {
    *void == 0
}

impl TrialCount {
    /// Notes the number that sets it apart from other trials of its kind.
    #[must_use]
    pub fn at(mut self, value: impl Into<f64>, unit: Unit) -> Self {
        self.at = Some(Figure { value: value.into(), unit });
        self
    }
}

impl FactFinding {
    /// Returns the finding for a question that was not asked, and why.
    pub fn not_tested(fact: Fact, why: impl Into<String>) -> Self {
        Self::new(fact, FactValue::NotTested, Confidence::Unknown, Vec::new(), Some(why.into()))
    }

    /// Returns a finding with its answer in words.
    pub fn new(
        fact: Fact,
        value: FactValue,
        confidence: Confidence,
        evidence: Vec<TrialCount>,
        note: Option<String>,
    ) -> Self {
        let (answer, measures) = (super::words::answer(fact, &value), measures(fact, &value));
        Self { fact, answer, value, measures, confidence, evidence, note }
    }

    /// Adds a note for the reader.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        let note = note.into();
        self.note = Some(self.note.map_or_else(|| note.clone(), |before| format!("{before}; {note}")));
        self
    }
}
