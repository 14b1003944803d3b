//! Everything known during a characterization: votes, loss, findings.

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

/// How sure an answer must be before its fact is no longer tested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ambition {
    /// Likely: enough to go on to the facts that build on it.
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
    /// The limits of the characterization.
    pub(super) effort: Effort,
    /// How much is lost on the path.
    pub(super) loss: PathLoss,
    /// How far the two ends' clocks were apart at most, in the worst run.
    pub(super) clock_error: Duration,
    /// The answers so far.
    pub(super) findings: BTreeMap<Fact, FactFinding>,
    /// How sure the answers must be.
    pub(super) ambition: Ambition,
    /// Whether a packet of the near end was seen to arrive with another source address.
    pub(super) rewrites_address: bool,
    votes: Vec<TrialVote>,
    rounds: BTreeMap<Fact, u32>,
}

impl KnownFacts {
    /// Creates an empty set of facts.
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

    /// Records the outcome of a plan.
    pub(super) fn learn(&mut self, plan: &TrialPlan, run: &PlayedTimeline) {
        self.votes.extend(votes(plan, run, &mut self.loss));
        self.clock_error = self.clock_error.max(run.clock_error);
        let ours =
            plan.timeline.packets.iter().zip(&run.deliveries).filter(|(packet, _)| packet.from == Endpoint::Near);
        let mut sources = ours.flat_map(|(_, delivery)| &delivery.arrived).map(|arrival| arrival.source);
        self.rewrites_address |= sources.any(|source| !self.ends.near.contains(&source));
    }

    /// Iterates over the votes for a fact.
    pub(super) fn votes(&self, fact: Fact) -> impl Iterator<Item = &TrialVote> {
        self.votes.iter().filter(move |vote| vote.fact == fact)
    }

    /// Iterates over the votes of one kind of trial.
    pub(super) fn arm(&self, fact: Fact, arm: &'static str) -> impl Iterator<Item = &TrialVote> {
        self.votes(fact).filter(move |vote| vote.arm == arm)
    }

    /// Counts the outcomes of one kind of trial.
    pub(super) fn tally(&self, fact: Fact, arm: &'static str) -> TrialTally {
        let mut tally = TrialTally::default();
        self.arm(fact, arm).for_each(|vote| tally.add(vote.end));
        tally
    }

    /// Counts the outcomes of one kind of trial, by mark.
    pub(super) fn by_mark(&self, fact: Fact, arm: &'static str) -> BTreeMap<u32, TrialTally> {
        let mut tallies = BTreeMap::<u32, TrialTally>::new();
        self.arm(fact, arm).for_each(|vote| tallies.entry(vote.mark).or_default().add(vote.end));
        tallies
    }

    /// Returns what the trials of one kind show.
    pub(super) fn belief(&self, fact: Fact, arm: &'static str) -> Belief {
        let tally = self.tally(fact, arm);
        let unseen = self.arm(fact, arm).next().is_some_and(|vote| vote.control == Control::Unseen);
        if unseen { tally.belief_by_share(self.loss) } else { tally.belief(self.loss) }
    }

    /// Returns whether more trials are worthwhile after this tally and the belief that follows from it.
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

    /// Returns how many rounds a fact may take at most.
    pub(super) fn most_rounds(&self) -> u32 {
        match self.ambition {
            Ambition::Likely => 3,
            Ambition::Certain => 6,
        }
    }

    /// Returns how often to repeat trials whose outcome must not be caused by loss.
    pub(super) fn repetitions(&self) -> u32 {
        let needed = (CERTAIN.ln() / self.loss.rate().ln()).ceil();
        (needed.clamp(3.0, 5.0)) as u32
    }

    /// Returns how many rounds a fact has taken so far.
    pub(super) fn round(&self, fact: Fact) -> u32 {
        self.rounds.get(&fact).copied().unwrap_or(0)
    }

    /// Counts one more round for a fact.
    pub(super) fn count_round(&mut self, fact: Fact) {
        *self.rounds.entry(fact).or_default() += 1;
    }

    /// Returns the answer to a fact.
    pub(super) fn answer(&self, fact: Fact) -> Option<&FactValue> {
        self.findings.get(&fact).map(|finding| &finding.value)
    }

    /// Returns whether the answer to a fact is `answer`.
    pub(super) fn is(&self, fact: Fact, answer: &FactValue) -> bool {
        self.answer(fact) == Some(answer)
    }

    /// Returns whether any packet has ever passed.
    pub(super) fn reaches(&self) -> bool {
        self.votes.iter().any(|vote| vote.end == TrialEnd::Passed)
    }

    /// Returns whether other packets of this run can match in place of the intended one, because the box ignores the
    /// id.
    pub(super) fn ids_are_alike(&self) -> bool {
        self.is(Fact::Id, &FactValue::No)
    }

    /// Explains, as a clause, why the trials of one kind show nothing.
    pub(super) fn why_unsure(&self, tally: TrialTally) -> String {
        let percent = self.loss.measured() * 100.0;
        match (tally.of(), tally.passed) {
            (0, _) if tally.void == 0 => "it was not reached".to_owned(),
            (0, _) => "it could not be tried: a packet that it builds on was lost or stopped each time".to_owned(),
            (of, 0) => format!("none of {of} passed, which proves nothing at {percent:.0} % loss"),
            (of, passed) => format!("only {passed} of {of} passed, more than {percent:.0} % loss explains were lost"),
        }
    }

    /// Explains why the controls of a fact rule out an answer, or returns `None` if they do not.
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
                (Control::Negative, Some(true)) => Some(format!("{arm} passed meanwhile, so nothing can be concluded")),
                (Control::Negative, None) => Some(format!("of {arm}: {}", self.why_unsure(tally))),
            }
        })
    }
}
