//! What the run of a script shows: by step how far its packets came, and in words what follows.

mod finding;

use serde::{Deserialize, Serialize};

use super::{
    plan::ExperimentPlan,
    script::{Expect, Script},
};
use crate::middlebox::timeline::{Landing, PlayedTimeline};

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

/// What became of one step's packets in all repetitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOutcome {
    /// Its place in [`Script::steps`].
    pub step: usize,
    /// What each repetition showed.
    pub votes: Vec<RepetitionCounts>,
    /// What most of them showed.
    pub fate: StepResult,
    /// Whether that is what the script expects.
    pub as_expected: bool,
}

/// One step in one repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepetitionCounts {
    /// How many packets it should have sent.
    pub planned: u16,
    /// How many were sent and not seen to stay behind in their own host.
    pub went: u16,
    /// How many of those arrived at the other end's NIC.
    pub arrived: u16,
    /// Why the first that did not go was not sent, where one was not.
    pub trouble: Option<String>,
}

/// What became of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepResult {
    /// All arrived.
    Arrived,
    /// All left their own NIC, and none arrived.
    Stopped,
    /// Some arrived.
    Partly,
    /// They did not leave their own host, so they say nothing of the way.
    Unsent,
    /// The repetitions do not agree.
    Divided,
}

impl RepetitionCounts {
    /// What this repetition says.
    pub fn fate(&self) -> StepResult {
        match (self.went, self.arrived) {
            (went, _) if went < self.planned => StepResult::Unsent,
            (went, arrived) if arrived >= went => StepResult::Arrived,
            (_, 0) => StepResult::Stopped,
            _ => StepResult::Partly,
        }
    }
}

impl StepOutcome {
    /// How many repetitions showed `fate`.
    pub fn votes_for(&self, fate: StepResult) -> usize {
        self.votes.iter().filter(|vote| vote.fate() == fate).count()
    }

    /// Packets in all repetitions: sent, and arrived.
    pub fn packets(&self) -> (u32, u32) {
        let sum = |of: fn(&RepetitionCounts) -> u16| self.votes.iter().map(|vote| u32::from(of(vote))).sum();
        (sum(|vote| vote.went), sum(|vote| vote.arrived))
    }
}

/// What `run` of `plan` shows of `script`.
pub fn judge(script: &Script, plan: &ExperimentPlan, run: &PlayedTimeline, names: &EndNames) -> ExperimentOutcome {
    let steps: Vec<StepOutcome> = script
        .sends()
        .map(|(step, sends)| {
            let votes: Vec<RepetitionCounts> =
                (0..script.repeat).map(|repetition| vote(plan, run, repetition, step)).collect();
            let fate = majority(&votes);
            StepOutcome { step, votes, fate, as_expected: fits(sends.expect, fate) }
        })
        .collect();
    let finding = finding::find(script, &steps, names);
    let as_expected = steps.iter().all(|step| step.as_expected);
    ExperimentOutcome { steps, finding, as_expected }
}

fn vote(plan: &ExperimentPlan, run: &PlayedTimeline, repetition: u16, step: usize) -> RepetitionCounts {
    let ours = plan.origins.iter().zip(&run.landings);
    let ours: Vec<&Landing> = ours
        .filter(|(origin, _)| origin.repetition == repetition && origin.step == step)
        .map(|(_, landing)| landing)
        .collect();
    let count = |wanted: fn(&&&Landing) -> bool| u16::try_from(ours.iter().filter(wanted).count()).unwrap_or(u16::MAX);
    RepetitionCounts {
        planned: count(|_| true),
        went: count(|landing| landing.went()),
        arrived: count(|landing| landing.went() && !landing.arrived.is_empty()),
        trouble: ours.iter().find_map(|landing| landing.trouble()),
    }
}

/// What more than half of the repetitions say.
fn majority(votes: &[RepetitionCounts]) -> StepResult {
    let most = [StepResult::Arrived, StepResult::Stopped, StepResult::Partly, StepResult::Unsent];
    let more_than_half = |fate: &StepResult| 2 * votes.iter().filter(|vote| vote.fate() == *fate).count() > votes.len();
    most.into_iter().find(more_than_half).unwrap_or(StepResult::Divided)
}

fn fits(expect: Expect, fate: StepResult) -> bool {
    match expect {
        Expect::Arrives => fate == StepResult::Arrived,
        Expect::Stops => fate == StepResult::Stopped,
        Expect::Any => matches!(fate, StepResult::Arrived | StepResult::Stopped | StepResult::Partly),
    }
}

impl Landing {
    /// Why it did not leave its own host, where it did not.
    fn trouble(&self) -> Option<String> {
        use crate::middlebox::timeline::SendTime::{At, NotReached, NotTried, Refused};
        match &self.sent {
            At(_) if self.left == Some(false) => Some("its own host stopped it".to_owned()),
            At(_) => None,
            Refused(errno) => Some(format!("its own kernel refused it: {errno}")),
            NotTried(why) => Some(why.clone()),
            NotReached => Some("the run ended before its time came".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
