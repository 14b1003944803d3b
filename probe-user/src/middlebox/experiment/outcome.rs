//! What the run of a script shows: how far the packets of each step came, and what follows, in words.

mod finding;

use serde::{Deserialize, Serialize};

use super::{
    plan::ExperimentPlan,
    script::{Expect, Script},
};
use crate::middlebox::timeline::{Delivery, PlayedTimeline};

pub use finding::EndNames;

/// What an experiment showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExperimentOutcome {
    /// By step that sends, in order.
    pub steps: Vec<StepOutcome>,
    /// In words.
    pub finding: String,
    /// Whether every step came out as its script expects.
    pub as_expected: bool,
}

/// The outcome of one step's packets in all repetitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOutcome {
    /// Its place in [`Script::steps`].
    pub step: usize,
    /// What each repetition showed.
    pub votes: Vec<RepetitionCounts>,
    /// What most of them showed.
    pub disposition: StepResult,
    /// Whether that is what the script expects.
    pub as_expected: bool,
}

/// One step in one repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepetitionCounts {
    /// How many packets it should have sent.
    pub planned: u16,
    /// How many were sent and not seen to stay in their own host.
    pub went: u16,
    /// How many of those arrived at the other end's NIC.
    pub arrived: u16,
    /// Why the first packet that was not sent was not, if there is one.
    pub trouble: Option<String>,
}

/// The outcome of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepResult {
    /// All arrived.
    Arrived,
    /// All left their own NIC, and none arrived.
    Stopped,
    /// Some arrived.
    Partly,
    /// They did not leave their own host, so they say nothing about the path.
    Unsent,
    /// The repetitions do not agree.
    Divided,
}

impl RepetitionCounts {
    /// Returns what this repetition shows.
    pub fn disposition(&self) -> StepResult {
        match (self.went, self.arrived) {
            (went, _) if went < self.planned => StepResult::Unsent,
            (went, arrived) if arrived >= went => StepResult::Arrived,
            (_, 0) => StepResult::Stopped,
            _ => StepResult::Partly,
        }
    }
}

impl StepOutcome {
    /// Counts the repetitions that showed `disposition`.
    pub fn votes_for(&self, disposition: StepResult) -> usize {
        self.votes.iter().filter(|vote| vote.disposition() == disposition).count()
    }

    /// Counts the packets in all repetitions: sent, and arrived.
    pub fn packets(&self) -> (u32, u32) {
        let sum = |of: fn(&RepetitionCounts) -> u16| self.votes.iter().map(|vote| u32::from(of(vote))).sum();
        (sum(|vote| vote.went), sum(|vote| vote.arrived))
    }
}

/// Judges what `run` of `plan` shows about `script`.
pub fn judge(script: &Script, plan: &ExperimentPlan, run: &PlayedTimeline, names: &EndNames) -> ExperimentOutcome {
    let steps: Vec<StepOutcome> = script
        .sends()
        .map(|(step, sends)| {
            let votes: Vec<RepetitionCounts> =
                (0..script.repeat).map(|repetition| vote(plan, run, repetition, step)).collect();
            let disposition = majority(&votes);
            StepOutcome { step, votes, disposition, as_expected: fits(sends.expect, disposition) }
        })
        .collect();
    let finding = finding::find(script, &steps, names);
    let as_expected = steps.iter().all(|step| step.as_expected);
    ExperimentOutcome { steps, finding, as_expected }
}

fn vote(plan: &ExperimentPlan, run: &PlayedTimeline, repetition: u16, step: usize) -> RepetitionCounts {
    let ours = plan.origins.iter().zip(&run.deliveries);
    let ours: Vec<&Delivery> = ours
        .filter(|(origin, _)| origin.repetition == repetition && origin.step == step)
        .map(|(_, delivery)| delivery)
        .collect();
    let count = |wanted: fn(&&&Delivery) -> bool| u16::try_from(ours.iter().filter(wanted).count()).unwrap_or(u16::MAX);
    RepetitionCounts {
        planned: count(|_| true),
        went: count(|delivery| delivery.went()),
        arrived: count(|delivery| delivery.went() && !delivery.arrived.is_empty()),
        trouble: ours.iter().find_map(|delivery| delivery.trouble()),
    }
}

/// Returns what more than half of the repetitions show.
fn majority(votes: &[RepetitionCounts]) -> StepResult {
    let most = [StepResult::Arrived, StepResult::Stopped, StepResult::Partly, StepResult::Unsent];
    let more_than_half = |disposition: &StepResult| {
        2 * votes.iter().filter(|vote| vote.disposition() == *disposition).count() > votes.len()
    };
    most.into_iter().find(more_than_half).unwrap_or(StepResult::Divided)
}

fn fits(expect: Expect, disposition: StepResult) -> bool {
    match expect {
        Expect::Arrives => disposition == StepResult::Arrived,
        Expect::Stops => disposition == StepResult::Stopped,
        Expect::Any => matches!(disposition, StepResult::Arrived | StepResult::Stopped | StepResult::Partly),
    }
}

impl Delivery {
    /// Explains why a packet did not leave its own host, if it did not.
    fn trouble(&self) -> Option<String> {
        use crate::middlebox::timeline::SendTime::{At, NotReached, NotTried, Refused};
        match &self.sent {
            At(_) if self.left == Some(false) => Some("its own host dropped it".to_owned()),
            At(_) => None,
            Refused(errno) => Some(format!("its own kernel refused it: {errno}")),
            NotTried(why) => Some(why.clone()),
            NotReached => Some("the run ended before it was due".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
