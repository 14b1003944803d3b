//! The outcomes of trials, and what a number of them proves given the loss of the path.

use std::time::Duration;

use super::{
    fact::Fact,
    finding::TrialCount,
    script::{Control, Trial, TrialPlan},
};
use crate::middlebox::timeline::{Arrival, Delivery, EchoId, PlayedTimeline};
use crate::model::verdict::Confidence;

/// The chance of error up to which an answer is given at all.
pub(super) const LIKELY: f64 = 1e-2;

/// The chance of error up to which it is called certain.
pub(super) const CERTAIN: f64 = 1e-4;

/// The outcome of one trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrialVote {
    /// The question that it serves.
    pub(super) fact: Fact,
    /// The kind of trial.
    pub(super) arm: &'static str,
    /// Distinguishes trials of one kind.
    pub(super) mark: u32,
    /// What was known about its outcome beforehand.
    pub(super) control: Control,
    /// How it ended.
    pub(super) end: TrialEnd,
    /// The age of the state, by the times at which packets were really sent.
    pub(super) age: Duration,
    /// The id that its subject was sent with, if that was chosen.
    pub(super) sent_id: Option<u16>,
    /// Its subject as it arrived.
    pub(super) arrival: Option<Arrival>,
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TrialEnd {
    /// The packet in question arrived.
    Passed,
    /// It left its host and did not arrive.
    Stopped,
    /// It could not be tried: what it builds on was lost, or its own host stopped it.
    Void,
}

/// The outcomes of the trials of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TrialTally {
    /// The packet in question arrived.
    pub(super) passed: u32,
    /// It did not.
    pub(super) stopped: u32,
    /// It could not be tried.
    pub(super) void: u32,
}

/// The loss on the path of packets that nothing stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PathLoss {
    /// Packets of positive controls that were sent.
    pub(super) trips: u32,
    /// Those that did not arrive.
    pub(super) lost: u32,
}

/// What a tally shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    /// Such packets pass.
    Passes(Confidence),
    /// They are stopped.
    Stops(Confidence),
    /// Too few trials for the loss, or some pass and more are lost than loss explains.
    Unsure,
}

impl Belief {
    /// Returns how sure it is.
    pub(super) fn confidence(self) -> Confidence {
        match self {
            Self::Passes(confidence) | Self::Stops(confidence) => confidence,
            Self::Unsure => Confidence::Unknown,
        }
    }

    /// Returns whether such packets pass, or `None` if that is not known.
    pub(super) fn passes(self) -> Option<bool> {
        match self {
            Self::Passes(_) => Some(true),
            Self::Stops(_) => Some(false),
            Self::Unsure => None,
        }
    }
}

impl PathLoss {
    /// Returns the chance that one packet is lost, with one lost packet more than were seen (Laplace's rule): a few
    /// packets without loss do not prove a path without loss.
    pub(super) fn rate(self) -> f64 {
        f64::from(self.lost + 1) / f64::from(self.trips + 2)
    }

    /// Returns the loss three standard errors above what was measured. It serves to judge many packets at once, where a
    /// small error in the rate would look like a finding.
    pub(super) fn worst(self) -> f64 {
        let rate = self.rate();
        (rate + 3.0 * (rate * (1.0 - rate) / f64::from(self.trips + 2)).sqrt()).min(0.99)
    }

    /// Returns the measured share of lost packets.
    pub(super) fn measured(self) -> f64 {
        if self.trips == 0 { 0.0 } else { f64::from(self.lost) / f64::from(self.trips) }
    }
}

impl TrialTally {
    /// Returns how many trials were completed.
    pub(super) fn of(self) -> u32 {
        self.passed + self.stopped
    }

    /// Counts one more outcome.
    pub(super) fn add(&mut self, end: TrialEnd) {
        match end {
            TrialEnd::Passed => self.passed += 1,
            TrialEnd::Stopped => self.stopped += 1,
            TrialEnd::Void => self.void += 1,
        }
    }

    /// Returns what the tally shows. An arrival is proof, since packets are known by their content. A packet that does
    /// not arrive may have been lost; only many of them show that they are stopped.
    pub(super) fn belief(self, loss: PathLoss) -> Belief {
        let rate = loss.rate();
        if self.of() == 0 {
            return Belief::Unsure;
        }
        if self.passed == 0 {
            return match rate.powi(self.stopped.try_into().unwrap_or(i32::MAX)) {
                error if error <= CERTAIN => Belief::Stops(Confidence::Certain),
                error if error <= LIKELY => Belief::Stops(Confidence::Likely),
                _ => Belief::Unsure,
            };
        }
        if at_least(self.stopped, self.of(), rate) < CERTAIN {
            return Belief::Unsure;
        }
        Belief::Passes(if self.passed > 1 { Confidence::Certain } else { Confidence::Likely })
    }

    /// Returns what the tally shows if an arrival is no proof: then some packets pass only because the one that stops
    /// them was lost.
    pub(super) fn belief_by_share(self, loss: PathLoss) -> Belief {
        let rate = loss.rate();
        let sure = |error: f64| match error {
            error if error <= CERTAIN => Confidence::Certain,
            error if error <= LIKELY => Confidence::Likely,
            _ => Confidence::Unknown,
        };
        let passes = sure(at_least(self.passed, self.of(), rate));
        let stops = sure(at_least(self.stopped, self.of(), rate));
        match (passes, stops) {
            (passes, Confidence::Unknown) if passes > Confidence::Unknown => Belief::Passes(passes),
            (Confidence::Unknown, stops) if stops > Confidence::Unknown => Belief::Stops(stops),
            _ => Belief::Unsure,
        }
    }

    /// Returns the tally as evidence.
    pub(super) fn count(self, what: impl Into<String>) -> TrialCount {
        TrialCount { what: what.into(), at: None, passed: self.passed, of: self.of(), void: self.void }
    }
}

/// Returns the chance that at least `lost` of `of` packets are lost, each with the chance `rate`.
pub(super) fn at_least(lost: u32, of: u32, rate: f64) -> f64 {
    let (mut term, mut below) = ((1.0 - rate).powi(of.try_into().unwrap_or(i32::MAX)), 0.0);
    for count in 0..lost.min(of + 1) {
        below += term;
        term *= f64::from(of - count) / f64::from(count + 1) * rate / (1.0 - rate);
    }
    (1.0 - below).max(0.0)
}

/// Returns the votes of a run, and adds its positive controls to `loss`. Packets that the run does not report are void.
pub(super) fn votes(plan: &TrialPlan, run: &PlayedTimeline, loss: &mut PathLoss) -> Vec<TrialVote> {
    plan.trials.iter().map(|trial| vote(trial, plan, run, loss)).collect()
}

fn vote(trial: &Trial, plan: &TrialPlan, run: &PlayedTimeline, loss: &mut PathLoss) -> TrialVote {
    let delivery = |packet: usize| run.deliveries.get(packet);
    let went = |packet: usize| delivery(packet).is_some_and(Delivery::went);
    let came = |packet: usize| delivery(packet).is_some_and(|delivery| !delivery.arrived.is_empty());
    if trial.control == Control::Positive {
        for packet in trial.needs.iter().copied().chain([trial.subject]).filter(|packet| went(*packet)) {
            loss.trips += 1;
            loss.lost += u32::from(!came(packet));
        }
    }
    let ready = trial.needs.iter().all(|packet| came(*packet));
    let end = match (ready && went(trial.subject), came(trial.subject)) {
        (false, _) => TrialEnd::Void,
        (true, true) => TrialEnd::Passed,
        (true, false) => TrialEnd::Stopped,
    };
    let sent = |packet: usize| delivery(packet).and_then(Delivery::sent_at).unwrap_or_default();
    let id = plan.timeline.packets.get(trial.subject).map(|packet| packet.id);
    TrialVote {
        fact: trial.fact,
        arm: trial.arm,
        mark: trial.mark,
        control: trial.control,
        end,
        age: sent(trial.subject).saturating_sub(sent(trial.since)),
        sent_id: id.and_then(|id| if let EchoId::Fixed(id) = id { Some(id) } else { None }),
        arrival: delivery(trial.subject).and_then(|delivery| delivery.arrived.first().cloned()),
    }
}

#[cfg(test)]
mod tests;
