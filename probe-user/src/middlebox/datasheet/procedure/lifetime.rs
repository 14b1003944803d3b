//! One lifetime to measure, and the two ways to do it: many ids at once if the id is part of the key, else one after
//! another.

use std::time::Duration;

use super::ProcedureStep;
use crate::middlebox::datasheet::{
    fact::Fact,
    known::KnownFacts,
    script::{Control, Draft, PlanBuilder, TrialSubject},
    votes::{LIKELY, TrialEnd, TrialTally, TrialVote},
};
use crate::middlebox::timeline::{EchoId, Endpoint, TimedPacket, TimelinePacket};

/// Which lifetime.
#[derive(Clone, Copy)]
pub(super) struct Lifetime {
    /// The question.
    pub(super) fact: Fact,
    /// The kind of trial.
    pub(super) arm: &'static str,
    /// The check that there is no state, if ids are ignored.
    pub(super) check: &'static str,
    /// When the first reply is sent after the request; the time counts from it. `None`: it counts from the request.
    pub(super) first_reply: Option<Duration>,
}

/// What the trials show so far, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bracket {
    /// The longest time after which a reply passed.
    pub(super) low: Option<f64>,
    /// The shortest time above it after which none did.
    pub(super) high: Option<f64>,
    /// The trials at `high`.
    pub(super) silence: TrialTally,
}

/// The shortest time that is tried.
const SHORTEST: Duration = Duration::from_millis(500);

/// Times of the first coverage grow by this.
const GROWTH: f64 = 1.3;

/// How narrow the bracket must be: its middle is then within a quarter of a second.
const NARROW: f64 = 0.42;

/// How far apart the times of a refinement are.
const STEP: f64 = 0.3;

/// How often the bracket may be narrowed.
const MOST_ROUNDS: u32 = 6;

/// The same if times are tried in turn.
const MOST_IN_TURN: u32 = 60;

/// Packets that one trial takes at most.
const PACKETS: usize = 3;

impl Lifetime {
    /// Adds the next trials.
    pub(super) fn plan(self, known: &KnownFacts, script: &mut PlanBuilder<'_>) -> ProcedureStep {
        if known.ids_are_alike() {
            return self.plan_in_turn(known, script);
        }
        let times = match known.round(self.fact) {
            0 => coverage(known.effort.longest),
            MOST_ROUNDS.. => return ProcedureStep::Settled,
            _ => self.refinement(known, script.room()),
        };
        if times.is_empty() {
            return ProcedureStep::Settled;
        }
        for _ in 0..known.repetitions() {
            for time in &times {
                let key = (self.fact, self.arm, millis(*time));
                script.trial(key, Control::Case, |draft| self.write(draft, *time));
            }
        }
        ProcedureStep::Asked
    }

    fn write(self, draft: &mut Draft<'_, '_>, time: Duration) -> TrialSubject {
        let request = draft.arrived_request();
        let Some(first) = self.first_reply else {
            draft.at(time);
            let reply = draft.reply(request);
            return TrialSubject::of(draft.send(reply)).since(request);
        };
        draft.at(first);
        let reply = draft.reply(request);
        let reply = draft.send(reply);
        draft.wait(time);
        let second = draft.reply(request);
        TrialSubject::of(draft.send(second)).since(reply).given(reply)
    }

    /// Returns times within the bracket to try next, if it is not narrow enough yet.
    fn refinement(self, known: &KnownFacts, room: usize) -> Vec<Duration> {
        let bracket = self.bracket(known);
        let Some(high) = bracket.high else { return Vec::new() };
        let low = bracket.low.unwrap_or(0.0);
        // Two lifetimes may be measured in one run, each trial several times.
        let most = room / (2 * PACKETS * known.repetitions() as usize);
        if high - low <= NARROW || most == 0 {
            return Vec::new();
        }
        let points = (((high - low) / STEP).ceil() as usize - 1).clamp(1, most);
        let step = (high - low) / (points as f64 + 1.0);
        let floor = known.effort.settle().as_secs_f64();
        let times = (1..=points).map(|index| low + step * index as f64).filter(|time| *time > floor);
        times.map(Duration::from_secs_f64).collect()
    }

    /// Returns the bracket that the votes show. An arrival is proof, so the longest time that passed is the lower end,
    /// even if packets with a shorter time were lost.
    pub(super) fn bracket(self, known: &KnownFacts) -> Bracket {
        // In turn, the first reply of several may refresh what the others then find: they are no older than it.
        let age =
            |vote: &TrialVote| if known.ids_are_alike() { Duration::from_millis(vote.mark.into()) } else { vote.age };
        let passed = known.arm(self.fact, self.arm).filter(|vote| vote.end == TrialEnd::Passed).map(age);
        let low = passed.max();
        let above = |mark: &u32| low.is_none_or(|low| Duration::from_millis(u64::from(*mark)) > low);
        let silent = |tally: &TrialTally| {
            let stopped = tally.stopped.try_into().unwrap_or(i32::MAX);
            tally.passed == 0 && tally.stopped > 0 && known.loss.rate().powi(stopped) <= LIKELY
        };
        let tallies = known.by_mark(self.fact, self.arm);
        let high = tallies.iter().find(|(mark, tally)| above(mark) && silent(tally));
        // A packet sent late met older state than planned: the oldest is the bound. In turn, they follow each other,
        // and one of the first two is not lost.
        let age_at = |mark: u32| {
            let votes =
                known.arm(self.fact, self.arm).filter(|vote| vote.mark == mark && vote.end == TrialEnd::Stopped);
            let mut ages: Vec<Duration> = votes.map(|vote| vote.age).collect();
            ages.sort_unstable();
            let bound = if known.ids_are_alike() { ages.get(1).or(ages.first()) } else { ages.last() };
            bound.copied().unwrap_or_default().as_secs_f64()
        };
        Bracket {
            low: low.map(|low| low.as_secs_f64()),
            high: high.map(|(mark, _)| age_at(*mark)),
            silence: high.map(|(_, tally)| *tally).unwrap_or_default(),
        }
    }

    /// Plans one time after another: doubling first, then halving the bracket. State left by an earlier trial would
    /// spoil both outcomes, so each trial starts only after a stray reply was stopped, which shows that nothing is
    /// remembered.
    fn plan_in_turn(self, known: &KnownFacts, script: &mut PlanBuilder<'_>) -> ProcedureStep {
        let longest = known.effort.longest;
        let Bracket { low, high, .. } = self.bracket(known);
        let low = Duration::from_secs_f64(low.unwrap_or(0.0));
        let time = match high.map(Duration::from_secs_f64) {
            _ if known.round(self.fact) >= MOST_IN_TURN => return ProcedureStep::Settled,
            Some(high) if (high - low).as_secs_f64() <= NARROW => return ProcedureStep::Settled,
            Some(high) => low + (high - low) / 2,
            None if low >= longest => return ProcedureStep::Settled,
            None => (low * 2).max(Duration::from_secs(1)).min(longest + Duration::from_millis(1)),
        };
        let times = known.repetitions();
        if !self.nothing_is_left(known) {
            let pause = self.pause(known);
            if pause > longest * 2 {
                return ProcedureStep::Settled;
            }
            script.pause(pause);
            let mark = known.round(self.fact);
            for _ in 0..times {
                script.trial((self.fact, self.check, mark), Control::Case, stray);
            }
            return ProcedureStep::Asked;
        }
        script.burst((self.fact, self.arm), Control::Case, |draft| {
            let first = self.write(draft, time);
            draft.repeated(&first, times).into_iter().map(|asked| (millis(time), asked)).collect()
        });
        ProcedureStep::Asked
    }

    /// Returns whether the last packet that was tried, a check or a trial, was stopped.
    fn nothing_is_left(self, known: &KnownFacts) -> bool {
        let Some(last) = known.votes(self.fact).last() else { return false };
        let tally = known.by_mark(self.fact, last.arm).get(&last.mark).copied().unwrap_or_default();
        tally.passed == 0 && tally.belief(known.loss).passes() == Some(false)
    }

    /// Returns how long to wait before a check: it doubles with each check that came too early.
    fn pause(self, known: &KnownFacts) -> Duration {
        let early = known.by_mark(self.fact, self.check).values().filter(|tally| tally.passed > 0).count();
        Duration::from_secs(1 << early.min(16))
    }
}

/// Sends a reply with an unused id. If the box ignores ids, it passes exactly when there is state.
fn stray(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let id = EchoId::Fixed(draft.fresh());
    let reply = TimedPacket::new(draft.now(), Endpoint::Far, TimelinePacket::Reply, id);
    TrialSubject::of(draft.send(reply))
}

/// Returns times from the shortest to the longest, each longer by a constant factor.
fn coverage(longest: Duration) -> Vec<Duration> {
    let mut times: Vec<Duration> = std::iter::successors(Some(SHORTEST), |time| Some(time.mul_f64(GROWTH)))
        .take_while(|time| *time < longest)
        .collect();
    times.push(longest);
    times
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_reaches_from_half_a_second_to_the_longest() {
        let times = coverage(Duration::from_secs(120));
        assert_eq!((times.first(), times.last()), (Some(&SHORTEST), Some(&Duration::from_secs(120))));
        assert!(times.windows(2).all(|pair| pair[1] > pair[0] && pair[1] <= pair[0].mul_f64(GROWTH + 0.001)));
        assert!(times.len() < 25, "{}", times.len());
    }
}
