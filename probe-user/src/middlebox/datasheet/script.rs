//! Writing a timeline: trials one after another, paced, each with the packets that it is made of.

mod draft;

use std::time::Duration;

pub(super) use self::draft::Draft;
use super::{fact::Fact, ids::FreshIds};
use crate::middlebox::timeline::{EchoId, Goal, MAX_PACKETS, TimedPacket, Timeline, TimelinePacket};

/// A timeline, and what its packets are for.
#[derive(Clone, Debug, Default)]
pub(super) struct TrialPlan {
    /// The packets.
    pub(super) timeline: Timeline,
    /// The trials that they make up.
    pub(super) trials: Vec<Trial>,
}

/// One trial: some packets, and the one whose arrival is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trial {
    /// The question that it serves.
    pub(super) fact: Fact,
    /// The kind of trial, as named in the evidence.
    pub(super) arm: &'static str,
    /// Distinguishes trials of one kind: a size, a rate, a place in a burst, a planned time in milliseconds.
    pub(super) mark: u32,
    /// What is known about its outcome beforehand.
    pub(super) control: Control,
    /// Packets that must have arrived for the trial to mean anything.
    pub(super) needs: Vec<usize>,
    /// The packet from which the age of the state counts.
    pub(super) since: usize,
    /// The packet whose arrival is the answer.
    pub(super) subject: usize,
}

/// Whether a trial's outcome is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// It is the question.
    Case,
    /// It is the question, and a packet takes part that may be lost unseen before it has done anything: an arrival is no
    /// proof then.
    Unseen,
    /// It passes unless it is lost.
    Positive,
    /// It is stopped.
    Negative,
}

/// What a trial tests.
#[derive(Clone, Debug)]
pub(super) struct TrialSubject {
    pub(super) subject: usize,
    pub(super) since: usize,
    pub(super) needs: Vec<usize>,
}

impl TrialSubject {
    /// Asks whether `subject` arrives.
    pub(super) fn of(subject: usize) -> Self {
        Self { subject, since: subject, needs: Vec::new() }
    }

    /// Counts the age from `packet`.
    #[must_use]
    pub(super) fn since(self, packet: usize) -> Self {
        Self { since: packet, ..self }
    }

    /// Makes the trial void unless `packet` arrived.
    #[must_use]
    pub(super) fn given(mut self, packet: usize) -> Self {
        self.needs.push(packet);
        self
    }
}

/// A plan that is being written.
#[derive(Debug)]
pub(super) struct PlanBuilder<'i> {
    ids: &'i mut FreshIds,
    gap: Duration,
    settle: Duration,
    packets: Vec<TimedPacket>,
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
    /// Each ends before the next one starts: if the box ignores the id, one could change the outcome of another.
    OneByOne,
}

/// A position in a script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bookmark(usize, usize, Duration);

impl<'i> PlanBuilder<'i> {
    /// Creates an empty script with at most `rate` packets a second, and `settle` between a packet and those that build
    /// on its arrival.
    pub(super) fn new(ids: &'i mut FreshIds, rate: u32, settle: Duration) -> Self {
        let gap = Duration::from_secs(1) / rate.max(1);
        Self {
            ids,
            gap,
            settle,
            packets: Vec::new(),
            trials: Vec::new(),
            cursor: Duration::ZERO,
            turns: Turns::Overlap,
        }
    }

    /// Raises the rate to `rate` packets a second, for the whole script.
    pub(super) fn hurry(&mut self, rate: u32) {
        self.gap = Duration::from_secs(1) / rate.max(1);
    }

    /// Sets whether the trials that follow may overlap.
    pub(super) fn take(&mut self, turns: Turns) {
        self.turns = turns;
    }

    /// Returns whether nothing was written.
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Returns how many more packets fit.
    pub(super) fn room(&self) -> usize {
        MAX_PACKETS.saturating_sub(self.packets.len())
    }

    /// Returns whether the script holds more packets than a timeline may.
    pub(super) fn is_full(&self) -> bool {
        self.packets.len() > MAX_PACKETS
    }

    /// Returns the current position, to go back to it.
    pub(super) fn bookmark(&self) -> Bookmark {
        Bookmark(self.packets.len(), self.trials.len(), self.cursor)
    }

    /// Removes what was written since a bookmark.
    pub(super) fn back_to(&mut self, Bookmark(packets, trials, cursor): Bookmark) {
        self.packets.truncate(packets);
        self.trials.truncate(trials);
        self.cursor = cursor;
    }

    /// Waits for `time` before the next trial.
    pub(super) fn pause(&mut self, time: Duration) {
        self.cursor += time;
    }

    /// Adds one trial. Others may start before it has ended.
    pub(super) fn trial(
        &mut self,
        (fact, arm, mark): (Fact, &'static str, u32),
        control: Control,
        write: impl FnOnce(&mut Draft<'_, 'i>) -> TrialSubject,
    ) {
        self.burst((fact, arm), control, |draft| vec![(mark, write(draft))]);
    }

    /// Adds trials that share packets, each with its mark.
    pub(super) fn burst(
        &mut self,
        (fact, arm): (Fact, &'static str),
        control: Control,
        write: impl FnOnce(&mut Draft<'_, 'i>) -> Vec<(u32, TrialSubject)>,
    ) {
        let before = self.packets.len();
        let (gap, start) = (self.gap, self.cursor);
        let trials = write(&mut Draft { script: self, start, now: start });
        let packets = u32::try_from(self.packets.len() - before).unwrap_or(u32::MAX);
        self.cursor = start + gap * packets.max(1);
        if self.turns == Turns::OneByOne {
            let end = self.packets[before..].iter().map(|packet| packet.at).max().unwrap_or(start);
            self.cursor = end + self.settle;
        }
        for (mark, TrialSubject { subject, since, mut needs }) in trials {
            needs.extend(self.packets[subject].needs());
            needs.sort_unstable();
            needs.dedup();
            self.trials.push(Trial { fact, arm, mark, control, needs, since, subject });
        }
    }

    /// Sorts the packets by time, spaces out those that are too close, and ends `linger` after the last.
    pub(super) fn finish(self, linger: Duration) -> TrialPlan {
        let mut order: Vec<usize> = (0..self.packets.len()).collect();
        order.sort_by_key(|packet| self.packets[*packet].at);
        let mut place = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old] = new;
        }
        let mut packets: Vec<TimedPacket> = order.iter().map(|old| moved(self.packets[*old].clone(), &place)).collect();
        let mut earliest = Duration::ZERO;
        for packet in &mut packets {
            packet.at = packet.at.max(earliest);
            earliest = packet.at + self.gap;
        }
        let moved_trial = |trial: Trial| Trial {
            needs: trial.needs.iter().map(|packet| place[*packet]).collect(),
            since: place[trial.since],
            subject: place[trial.subject],
            ..trial
        };
        let trials = self.trials.into_iter().map(moved_trial).collect();
        TrialPlan { timeline: Timeline { packets, linger }, trials }
    }
}

/// Adjusts what `packet` refers to after the packets were reordered.
fn moved(mut packet: TimedPacket, place: &[usize]) -> TimedPacket {
    use crate::middlebox::timeline::ErrorQuote;
    if let EchoId::OfArrived(of) = &mut packet.id {
        *of = place[*of];
    }
    if let Goal::SourceOfArrived(of) = &mut packet.destination {
        *of = place[*of];
    }
    if let TimelinePacket::Error(ErrorQuote::Packet(of)) = &mut packet.message {
        *of = place[*of];
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(draft: &mut Draft<'_, '_>, after: Duration) -> TrialSubject {
        let request = draft.arrived_request();
        draft.at(after);
        let reply = draft.reply(request);
        TrialSubject::of(draft.send(reply)).since(request)
    }

    #[test]
    fn packets_are_sorted_and_trials_follow_them() {
        let mut ids = FreshIds::new(1);
        let mut script = PlanBuilder::new(&mut ids, 50, Duration::from_millis(100));
        for seconds in [9, 5, 1] {
            let after = Duration::from_secs(seconds);
            script.trial((Fact::Timeout, "late", 0), Control::Case, |draft| exchange(draft, after));
        }
        let plan = script.finish(Duration::from_secs(1));
        assert_eq!(plan.timeline.fault(), None);
        for (trial, seconds) in plan.trials.iter().zip([9, 5, 1]) {
            let [request, reply] = [trial.since, trial.subject].map(|packet| &plan.timeline.packets[packet]);
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
        let packets = script.finish(Duration::ZERO).timeline.packets;
        assert!(packets.windows(2).all(|pair| pair[1].at - pair[0].at >= Duration::from_millis(20)));
        assert!(packets.last().is_some_and(|last| last.at < Duration::from_secs(2)));
    }

    #[test]
    fn what_was_taken_back_is_gone() {
        let mut ids = FreshIds::new(1);
        let mut script = PlanBuilder::new(&mut ids, 50, Duration::from_millis(100));
        let start = script.bookmark();
        script.trial((Fact::Id, "a", 0), Control::Case, |draft| exchange(draft, Duration::ZERO));
        assert_eq!((script.is_empty(), script.room()), (false, MAX_PACKETS - 2));
        script.back_to(start);
        assert!(script.is_empty() && script.finish(Duration::ZERO).trials.is_empty());
    }
}
