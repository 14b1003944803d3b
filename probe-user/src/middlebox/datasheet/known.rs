//! Everything that is known while a characterisation goes on: votes, loss, findings.

use std::{collections::BTreeMap, time::Duration};

use super::{
    effort::Effort,
    fact::Fact,
    finding::{FactFinding, FactValue},
    script::{Control, TrialPlan},
    votes::{Belief, CERTAIN, LIKELY, PathLoss, TrialEnd, TrialTally, TrialVote, votes},
};
use crate::middlebox::timeline::{EndAddresses, Endpoint, PlayedTimeline};
use crate::model::verdict::Confidence;

/// How sure an answer must be before nothing more is asked about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ambition {
    /// Likely: enough to go on to what builds on it.
    #[default]
    Likely,
    /// Certain.
    Certain,
}

/// What is known so far.
#[derive(Clone, Debug)]
pub(super) struct KnownFacts {
    /// The addresses of both ends.
    pub(super) ends: EndAddresses,
    /// What may be asked.
    pub(super) effort: Effort,
    /// How much is lost on the way.
    pub(super) loss: PathLoss,
    /// How far the two ends' clocks were apart at most, in the worst run.
    pub(super) clock_error: Duration,
    /// The answers so far.
    pub(super) findings: BTreeMap<Fact, FactFinding>,
    /// How sure is sure enough.
    pub(super) ambition: Ambition,
    /// Whether a packet of the near end was seen to arrive with another source address.
    pub(super) rewrites_address: bool,
    votes: Vec<TrialVote>,
    rounds: BTreeMap<Fact, u32>,
}

impl KnownFacts {
    /// Nothing yet.
    pub(super) fn new(ends: EndAddresses, effort: Effort) -> Self {
        Self {
            ends,
            effort,
            loss: PathLoss::default(),
            clock_error: Duration::ZERO,
            findings: BTreeMap::new(),
            ambition: Ambition::Likely,
            rewrites_address: false,
            votes: Vec::new(),
            rounds: BTreeMap::new(),
        }
    }

    /// Takes in what became of a plan.
    pub(super) fn learn(&mut self, plan: &TrialPlan, run: &PlayedTimeline) {
        self.votes.extend(votes(plan, run, &mut self.loss));
        self.clock_error = self.clock_error.max(run.clock_error);
        let ours = plan.timeline.shots.iter().zip(&run.landings).filter(|(shot, _)| shot.from == Endpoint::Near);
        let mut sources = ours.flat_map(|(_, landing)| &landing.arrived).map(|arrival| arrival.source);
        self.rewrites_address |= sources.any(|source| !self.ends.near.contains(&source));
    }

    /// The votes of a fact.
    pub(super) fn votes(&self, fact: Fact) -> impl Iterator<Item = &TrialVote> {
        self.votes.iter().filter(move |vote| vote.fact == fact)
    }

    /// The votes of one kind of trial.
    pub(super) fn arm(&self, fact: Fact, arm: &'static str) -> impl Iterator<Item = &TrialVote> {
        self.votes(fact).filter(move |vote| vote.arm == arm)
    }

    /// How the trials of one kind ended.
    pub(super) fn tally(&self, fact: Fact, arm: &'static str) -> TrialTally {
        let mut tally = TrialTally::default();
        self.arm(fact, arm).for_each(|vote| tally.add(vote.fate));
        tally
    }

    /// How the trials of one kind ended, by their marks.
    pub(super) fn by_mark(&self, fact: Fact, arm: &'static str) -> BTreeMap<u32, TrialTally> {
        let mut tallies = BTreeMap::<u32, TrialTally>::new();
        self.arm(fact, arm).for_each(|vote| tallies.entry(vote.mark).or_default().add(vote.fate));
        tallies
    }

    /// What the trials of one kind say.
    pub(super) fn belief(&self, fact: Fact, arm: &'static str) -> Belief {
        let tally = self.tally(fact, arm);
        let unseen = self.arm(fact, arm).next().is_some_and(|vote| vote.control == Control::Unseen);
        if unseen { tally.belief_by_share(self.loss) } else { tally.belief(self.loss) }
    }

    /// Whether more trials are worth it that ended like these and say so much.
    pub(super) fn wants_more(&self, tally: TrialTally, belief: Belief) -> bool {
        let silent = tally.of() == 0 && tally.void > 0;
        if silent && self.loss.rate().powi(tally.void.try_into().unwrap_or(i32::MAX)) <= LIKELY {
            return false;
        }
        let enough = match self.ambition {
            Ambition::Likely => Confidence::Likely,
            Ambition::Certain => Confidence::Certain,
        };
        belief.confidence() < enough
    }

    /// How often a fact may be asked for.
    pub(super) fn most_rounds(&self) -> u32 {
        match self.ambition {
            Ambition::Likely => 3,
            Ambition::Certain => 6,
        }
    }

    /// How often trials are repeated whose outcome must not be loss.
    pub(super) fn repetitions(&self) -> u32 {
        let needed = (CERTAIN.ln() / self.loss.rate().ln()).ceil();
        (needed.clamp(3.0, 5.0)) as u32
    }

    /// How often a fact was asked for.
    pub(super) fn round(&self, fact: Fact) -> u32 {
        self.rounds.get(&fact).copied().unwrap_or(0)
    }

    /// Notes that a fact was asked for once more.
    pub(super) fn count_round(&mut self, fact: Fact) {
        *self.rounds.entry(fact).or_default() += 1;
    }

    /// The answer to a fact.
    pub(super) fn answer(&self, fact: Fact) -> Option<&FactValue> {
        self.findings.get(&fact).map(|finding| &finding.value)
    }

    /// Whether a fact's answer is `answer`.
    pub(super) fn is(&self, fact: Fact, answer: &FactValue) -> bool {
        self.answer(fact) == Some(answer)
    }

    /// Whether anything ever passed.
    pub(super) fn reaches(&self) -> bool {
        self.votes.iter().any(|vote| vote.fate == TrialEnd::Passed)
    }

    /// Whether other packets of this run may stand in for the one that was asked with, because the id is not looked at.
    pub(super) fn ids_are_alike(&self) -> bool {
        self.is(Fact::Id, &FactValue::No)
    }

    /// Why trials of one kind don't say anything, as a clause.
    pub(super) fn why_unsure(&self, tally: TrialTally) -> String {
        let percent = self.loss.measured() * 100.0;
        match (tally.of(), tally.passed) {
            (0, _) if tally.void == 0 => "it was not reached".to_owned(),
            (0, _) => "it could not be tried: what it builds on was lost or stopped each time".to_owned(),
            (of, 0) => format!("none of {of} passed, which at {percent:.0} % loss proves nothing"),
            (of, passed) => format!("only {passed} of {of} passed, more than {percent:.0} % loss explains were lost"),
        }
    }

    /// Why the controls of a fact forbid an answer; nothing where they don't.
    pub(super) fn broken_control(&self, fact: Fact) -> Option<String> {
        let mut arms: Vec<(&'static str, Control)> = self.votes(fact).map(|vote| (vote.arm, vote.control)).collect();
        arms.dedup();
        arms.into_iter().find_map(|(arm, control)| {
            let tally = self.tally(fact, arm);
            let lost = tally.stopped + tally.void;
            match (control, tally.belief(self.loss).passes()) {
                (Control::Positive, Some(true))
                | (Control::Negative, Some(false))
                | (Control::Case | Control::Unseen, _) => None,
                (Control::Positive, _) => {
                    Some(format!("the control was lost in {lost} of {}", tally.of() + tally.void))
                }
                (Control::Negative, Some(true)) => Some(format!("{arm} passed meanwhile, so nothing is to be seen")),
                (Control::Negative, None) => Some(format!("of {arm}: {}", self.why_unsure(tally))),
            }
        })
    }
}
