//! The state that a box keeps for a ping: how to find out, and what the counts show. Pure: it has no packets and no
//! clock.
//!
//! A [`Session`] hands out timelines and takes the outcome of their packets, until each [`Fact`] has its
//! [`FactFinding`]. The procedures know what to ask next and what the votes say; the controls and the loss that they
//! show say how sure that is.

pub mod answer;
pub mod compare;
pub mod effort;
pub mod explain;
pub mod fact;
pub mod finding;
pub mod fingerprint;
pub mod ids;
mod known;
pub mod measure;
mod procedure;
mod script;
pub mod session;
mod stacks;
mod votes;
mod words;

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::known::KnownFacts;
pub use self::{
    effort::{Effort, Level},
    fact::Fact,
    finding::{FactFinding, FactValue},
    fingerprint::Likeness,
    session::{Session, SessionProgress},
};

/// What is known about the box between two ends, over one IP version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Datasheet {
    /// IP version, 4 or 6.
    pub family: u8,
    /// The near end's address.
    pub near: Option<IpAddr>,
    /// The far end's address.
    pub far: Option<IpAddr>,
    /// The answers.
    pub facts: Vec<FactFinding>,
    /// The known stacks, the most similar first; empty if too few facts are known to compare.
    pub fingerprint: Vec<Likeness>,
    /// Packets of the controls that were sent.
    pub control_packets: u32,
    /// Those of them that were lost.
    pub control_packets_lost: u32,
    /// How far the two ends' clocks may have been apart, in seconds.
    pub clock_error_s: f64,
    /// What the facts show together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Datasheet {
    fn new(known: &KnownFacts, facts: Vec<FactFinding>) -> Self {
        let fingerprint = fingerprint::likenesses(&facts);
        let notes = notes(&facts);
        Self {
            family: known.ends.family(),
            near: known.ends.near.first().copied(),
            far: known.ends.far.first().copied(),
            facts,
            fingerprint,
            control_packets: known.loss.trips,
            control_packets_lost: known.loss.lost,
            clock_error_s: known.clock_error.as_secs_f64(),
            notes,
        }
    }

    /// Returns what was found out about a fact.
    pub fn finding(&self, fact: Fact) -> Option<&FactFinding> {
        self.facts.iter().find(|finding| finding.fact == fact)
    }

    /// Returns the answer to a fact, if it was asked for.
    pub fn answer(&self, fact: Fact) -> Option<&FactValue> {
        self.finding(fact).map(|finding| &finding.value)
    }
}

/// Notes signs of two boxes in series, which no single answer shows.
fn notes(facts: &[FactFinding]) -> Vec<String> {
    let of = |fact| facts.iter().find(|finding| finding.fact == fact).map(|finding| &finding.value);
    let mut signs = Vec::new();
    if [Fact::RefreshByRequest, Fact::RefreshByReply]
        .iter()
        .any(|fact| matches!(of(*fact), Some(FactValue::Until { .. })))
    {
        signs.push("the state is refreshed, but only up to a second limit");
    }
    if of(Fact::Roles) == Some(&FactValue::Different) {
        signs.push("the two directions have different keys");
    }
    if signs.is_empty() {
        return Vec::new();
    }
    vec![format!("This looks like two boxes in series, or one with two sets of rules: {}.", signs.join("; "))]
}
