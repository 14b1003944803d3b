//! Writing a timeline: trials one after another, paced, each with the packets that it is made of.

mod draft;

use std::time::Duration;

pub(super) use self::draft::Draft;
use super::{fact::Fact, ids::FreshIds};
use crate::middlebox::timeline::{EchoId, Goal, MAX_SHOTS, TimedPacket, Timeline, TimelinePacket};

/// A timeline, and what its shots are for.
#[derive(Clone, Debug, Default)]
pub(super) struct TrialPlan {
    /// The packets.
    pub(super) timeline: Timeline,
    /// The trials that they make up.
    pub(super) trials: Vec<Trial>,
}

/// One try of one kind: some packets, and the one whose arrival is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trial {
    /// The question that it serves.
    pub(super) fact: Fact,
    /// The kind of trial, as it stands in the evidence.
    pub(super) arm: &'static str,
    /// What tells trials of one kind apart: a size, a rate, a place in a burst, a planned time in milliseconds.
    pub(super) mark: u32,
    /// What is known of its outcome before.
    pub(super) control: Control,
    /// Shots that must have arrived for the trial to mean anything.
    pub(super) needs: Vec<usize>,
    /// The shot from which the age of what is remembered counts.
    pub(super) since: usize,
    /// The shot whose arrival is the answer.
    pub(super) subject: usize,
}

/// Whether a trial's outcome is known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// It is the question.
    Case,
    /// It is the question, and a packet takes part that may be lost unseen before it has done anything: an arrival is no
    /// proof then.
    Unseen,
    /// It passes but for loss.
    Positive,
    /// It is stopped.
    Negative,
}

/// What a trial asks, as its writer says it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) subject: usize,
    pub(super) since: usize,
    pub(super) needs: Vec<usize>,
}

impl Asked {
    /// Whether `subject` arrives.
    pub(super) fn of(subject: usize) -> Self {
        Self { subject, since: subject, needs: Vec::new() }
    }

    /// The age counts from `shot`.
    #[must_use]
    pub(super) fn since(self, shot: usize) -> Self {
        Self { since: shot, ..self }
    }

    /// It means nothing unless `shot` arrived.
    #[must_use]
    pub(super) fn given(mut self, shot: usize) -> Self {
        self.needs.push(shot);
        self
    }
}

/// A plan in the making.
#[derive(Debug)]
pub(super) struct PlanBuilder<'i> {
    ids: &'i mut FreshIds,
    gap: Duration,
    settle: Duration,
    shots: Vec<TimedPacket>,
    trials: Vec<Trial>,
    cursor: Duration,
    turns: Turns,
}

/// Whether trials may overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turns {
    /// They may.
    #[default]
    Overlap,
    /// Each ends before the next one starts: where the id may not be looked at, one could undo another.
    OneByOne,
}

/// How far a script had come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bookmark(usize, usize, Duration);

impl<'i> PlanBuilder<'i> {
    /// An empty one: at most `rate` packets a second, and `settle` between a packet and what builds on its arrival.
    pub(super) fn new(ids: &'i mut FreshIds, rate: u32, settle: Duration) -> Self {
        let gap = Duration::from_secs(1) / rate.max(1);
        Self { ids, gap, settle, shots: Vec::new(), trials: Vec::new(), cursor: Duration::ZERO, turns: Turns::Overlap }
    }

    /// Lets packets follow each other as fast as `rate` a second from here on, for the whole script.
    pub(super) fn hurry(&mut self, rate: u32) {
        self.gap = Duration::from_secs(1) / rate.max(1);
    }

    /// From here on, trials overlap or do not.
    pub(super) fn take(&mut self, turns: Turns) {
        self.turns = turns;
    }

    /// Whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.shots.is_empty()
    }

    /// How many more packets it can take.
    pub(super) fn room(&self) -> usize {
        MAX_SHOTS.saturating_sub(self.shots.len())
    }

    /// Whether it holds more packets than a timeline may.
    pub(super) fn is_full(&self) -> bool {
        self.shots.len() > MAX_SHOTS
    }

    /// Where it is now.
    pub(super) fn bookmark(&self) -> Bookmark {
        Bookmark(self.shots.len(), self.trials.len(), self.cursor)
    }

    /// Takes back what was written since.
    pub(super) fn back_to(&mut self, Bookmark(shots, trials, cursor): Bookmark) {
        self.shots.truncate(shots);
        self.trials.truncate(trials);
        self.cursor = cursor;
    }

    /// Lets time pass before the next trial.
    pub(super) fn pause(&mut self, time: Duration) {
        self.cursor += time;
    }

    /// Writes one trial. Others may start before it has ended.
    pub(super) fn trial(
        &mut self,
        (fact, arm, mark): (Fact, &'static str, u32),
        control: Control,
        write: impl FnOnce(&mut Draft<'_, 'i>) -> Asked,
    ) {
        self.burst((fact, arm), control, |draft| vec![(mark, write(draft))]);
    }

    /// Writes trials that share packets, each with its mark.
    pub(super) fn burst(
        &mut self,
        (fact, arm): (Fact, &'static str),
        control: Control,
        write: impl FnOnce(&mut Draft<'_, 'i>) -> Vec<(u32, Asked)>,
    ) {
        let before = self.shots.len();
        let (gap, start) = (self.gap, self.cursor);
        let trials = write(&mut Draft { script: self, start, now: start });
        let shots = u32::try_from(self.shots.len() - before).unwrap_or(u32::MAX);
        self.cursor = start + gap * shots.max(1);
        if self.turns == Turns::OneByOne {
            let end = self.shots[before..].iter().map(|shot| shot.at).max().unwrap_or(start);
            self.cursor = end + self.settle;
        }
        for (mark, Asked { subject, since, mut needs }) in trials {
            needs.extend(self.shots[subject].needs());
            needs.sort_unstable();
            needs.dedup();
            self.trials.push(Trial { fact, arm, mark, control, needs, since, subject });
        }
    }

    /// Sorts the packets by time, spreads those that come too close, and ends `linger` after the last.
    pub(super) fn finish(self, linger: Duration) -> TrialPlan {
        let mut order: Vec<usize> = (0..self.shots.len()).collect();
        order.sort_by_key(|shot| self.shots[*shot].at);
        let mut place = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old] = new;
        }
        let mut shots: Vec<TimedPacket> = order.iter().map(|old| moved(self.shots[*old].clone(), &place)).collect();
        let mut earliest = Duration::ZERO;
        for shot in &mut shots {
            shot.at = shot.at.max(earliest);
            earliest = shot.at + self.gap;
        }
        let moved_trial = |trial: Trial| Trial {
            needs: trial.needs.iter().map(|shot| place[*shot]).collect(),
            since: place[trial.since],
            subject: place[trial.subject],
            ..trial
        };
        let trials = self.trials.into_iter().map(moved_trial).collect();
        TrialPlan { timeline: Timeline { shots, linger }, trials }
    }
}

/// `shot` after the shots were put in another order.
fn moved(mut shot: TimedPacket, place: &[usize]) -> TimedPacket {
    use crate::middlebox::timeline::ErrorQuote;
    if let EchoId::OfArrived(of) = &mut shot.id {
        *of = place[*of];
    }
    if let Goal::SourceOfArrived(of) = &mut shot.destination {
        *of = place[*of];
    }
    if let TimelinePacket::Error(ErrorQuote::Shot(of)) = &mut shot.message {
        *of = place[*of];
    }
    shot
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(draft: &mut Draft<'_, '_>, after: Duration) -> Asked {
        let request = draft.asked();
        draft.at(after);
        let reply = draft.reply(request);
        Asked::of(draft.shoot(reply)).since(request)
    }

    #[test]
    fn shots_are_sorted_and_trials_follow_them() {
        let mut ids = FreshIds::new(1);
        let mut script = PlanBuilder::new(&mut ids, 50, Duration::from_millis(100));
        for seconds in [9, 5, 1] {
            let after = Duration::from_secs(seconds);
            script.trial((Fact::Timeout, "late", 0), Control::Case, |draft| exchange(draft, after));
        }
        let plan = script.finish(Duration::from_secs(1));
        assert_eq!(plan.timeline.fault(), None);
        for (trial, seconds) in plan.trials.iter().zip([9, 5, 1]) {
            let [request, reply] = [trial.since, trial.subject].map(|shot| &plan.timeline.shots[shot]);
            assert_eq!((trial.needs.as_slice(), reply.id), ([trial.since].as_slice(), EchoId::OfArrived(trial.since)));
            assert_eq!((reply.at - request.at).as_secs(), seconds);
        }
    }

    #[test]
    fn no_two_packets_come_closer_than_the_rate_allows() {
        let mut ids = FreshIds::new(1);
        let mut script = PlanBuilder::new(&mut ids, 50, Duration::from_millis(100));
        for _ in 0..40 {
            script.trial((Fact::Id, "a", 0), Control::Case, |draft| exchange(draft, Duration::ZERO));
        }
        let shots = script.finish(Duration::ZERO).timeline.shots;
        assert!(shots.windows(2).all(|pair| pair[1].at - pair[0].at >= Duration::from_millis(20)));
        assert!(shots.last().is_some_and(|last| last.at < Duration::from_secs(2)));
    }

    #[test]
    fn what_was_taken_back_is_gone() {
        let mut ids = FreshIds::new(1);
        let mut script = PlanBuilder::new(&mut ids, 50, Duration::from_millis(100));
        let start = script.bookmark();
        script.trial((Fact::Id, "a", 0), Control::Case, |draft| exchange(draft, Duration::ZERO));
        assert_eq!((script.is_empty(), script.room()), (false, MAX_SHOTS - 2));
        script.back_to(start);
        assert!(script.is_empty() && script.finish(Duration::ZERO).trials.is_empty());
    }
}
