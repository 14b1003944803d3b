//! Does another request or a reply refresh the state, and for ever or up to a second limit?

use std::time::Duration;

use super::{Gate, Procedure, ProcedureStep};
use crate::{
    middlebox::datasheet::{
        fact::Fact,
        finding::{FactFinding, FactValue, TrialCount},
        known::KnownFacts,
        script::{Control, Draft, PlanBuilder, TrialSubject},
        votes::{Belief, TrialEnd, TrialTally, TrialVote},
    },
    model::verdict::Confidence,
};

/// By a request.
pub(super) const BY_REQUEST: Procedure = Procedure {
    gate: |known| gate(known, Fact::RefreshByRequest),
    plan: |known, script| plan(known, script, Fact::RefreshByRequest),
    judge: |known| judge(known, Fact::RefreshByRequest),
    takes: |known| takes(known, Fact::RefreshByRequest),
};

/// By a reply.
pub(super) const BY_REPLY: Procedure = Procedure {
    gate: |known| gate(known, Fact::RefreshByReply),
    plan: |known, script| plan(known, script, Fact::RefreshByReply),
    judge: |known| judge(known, Fact::RefreshByReply),
    takes: |known| takes(known, Fact::RefreshByReply),
};

const WITHIN: &str = "a reply before the timeout, without a refresher";
const WITHOUT: &str = "a reply after the timeout, without a refresher";
const EARLY: &str = "a reply soon after the timeout, with a refresher before it";
const MIDDLE: &str = "a reply well after the timeout, with a refresher before it";
const LATE: &str = "a reply long after the timeout, with a refresher before it";
const CHAIN: &str = "a reply much later, with refreshers all the time";

/// The most refreshers of a chain.
const LONGEST_CHAIN: u32 = 4;

/// When the packets are sent, counted from the request.
#[derive(Clone, Copy, Debug)]
struct Times {
    /// When the refresher is sent.
    refresher: Duration,
    /// When the state has surely expired.
    over: Duration,
    /// How long the state lives after the refresher, if that refreshes it.
    span: Duration,
}

impl Times {
    fn new(known: &KnownFacts, fact: Fact) -> Option<Self> {
        let (low, high) = known.answer(Fact::Timeout)?.between()?;
        let after_reply = known.answer(Fact::TimeoutAfterReply).and_then(FactValue::between).map(|(low, _)| low);
        let span = match fact {
            Fact::RefreshByReply => after_reply.map_or(low, |after| after.min(low)),
            _ => low,
        };
        let [refresher, over, span] = [low - 0.3 * span, high, span].map(Duration::from_secs_f64);
        Some(Self { refresher, over, span })
    }

    /// Returns when the reply of an arm is sent.
    fn reply(self, arm: &str) -> Duration {
        match arm {
            WITHIN => self.refresher,
            EARLY => self.over + self.span.mul_f64(0.15),
            LATE => self.over + self.span.mul_f64(0.6),
            _ => self.over + self.span.mul_f64(0.4),
        }
    }

    /// Returns when the refresher with this number in a chain is sent, counted from 0.
    fn link(self, number: u32) -> Duration {
        self.refresher + self.span.mul_f64(0.7) * number
    }

    /// Returns how many refreshers a chain may have: no more than the replies that pass, and no more than fit into one
    /// and a half times the longest timeout. It is 0 for requests: they would create new state after a second limit had
    /// ended the old one.
    fn chain(self, known: &KnownFacts, fact: Fact) -> u32 {
        let replies = match known.answer(Fact::Replies) {
            Some(FactValue::Unlimited { tried }) => *tried,
            Some(FactValue::Limit { replies }) => replies.saturating_sub(1),
            _ => 0,
        };
        let room = known.effort.longest.mul_f64(1.5).saturating_sub(self.refresher).as_secs_f64();
        let fitting = (room / (0.7 * self.span.as_secs_f64()).max(0.1)) as u32;
        let chain = fitting.min(replies).min(LONGEST_CHAIN);
        if fact == Fact::RefreshByReply && chain > 1 { chain } else { 0 }
    }
}

fn gate(known: &KnownFacts, fact: Fact) -> Gate {
    match (super::remembered(known), known.answer(Fact::Timeout)) {
        (Gate::Open, Some(FactValue::Between { .. }))
            if Times::new(known, fact).is_some_and(|times| times.refresher.is_zero()) =>
        {
            Gate::Shut("it lasts too short a time for a refresher".to_owned())
        }
        (Gate::Open, Some(FactValue::Between { .. })) if known.ids_are_alike() => {
            match known.answer(Fact::TimeoutAfterReply) {
                Some(FactValue::Between { .. } | FactValue::Under { .. }) => Gate::Alone,
                _ => Gate::Shut("it is not known when the state left by earlier replies expires".to_owned()),
            }
        }
        (Gate::Open, Some(FactValue::Between { .. })) => Gate::Open,
        (Gate::Open, Some(FactValue::Beyond { .. })) => Gate::Shut("the state lasts longer than was tried".to_owned()),
        (Gate::Open, Some(FactValue::Under { .. })) => {
            Gate::Shut("it lasts too short a time for a refresher".to_owned())
        }
        (Gate::Open, _) => Gate::Shut("it is not known how long the state lasts".to_owned()),
        (gate, _) => gate,
    }
}

fn takes(known: &KnownFacts, fact: Fact) -> Duration {
    let Some(times) = Times::new(known, fact) else { return known.effort.longest };
    let chain = times.chain(known, fact);
    let once = times.link(chain).max(times.reply(LATE));
    if known.ids_are_alike() { (times.over + times.reply(MIDDLE)) * 2 } else { once + Duration::from_secs(3) }
}

fn plan(known: &KnownFacts, script: &mut PlanBuilder<'_>, fact: Fact) -> ProcedureStep {
    let Some(times) = Times::new(known, fact).filter(|_| known.round(fact) < 3) else { return ProcedureStep::Settled };
    let chain = times.chain(known, fact);
    let open = |arm: &&'static str| known.round(fact) == 0 || known.belief(fact, arm) == Belief::Unsure;
    let arms = if known.ids_are_alike() { &[MIDDLE][..] } else { &[WITHIN, WITHOUT, EARLY, MIDDLE, LATE] };
    let open: Vec<&'static str> = arms.iter().copied().filter(open).collect();
    if open.is_empty() {
        return ProcedureStep::Settled;
    }
    let times_each = known.repetitions();
    if known.ids_are_alike() {
        // State left by earlier packets must have expired, whichever of them it counts from.
        let after_reply =
            known.answer(Fact::TimeoutAfterReply).and_then(FactValue::between).map_or(0.0, |(_, high)| high);
        script.pause(times.over.max(Duration::from_secs_f64(after_reply)) + Duration::from_secs(1));
        script.burst((fact, MIDDLE), Control::Case, |draft| {
            let first = write(draft, fact, MIDDLE, times);
            draft.repeated(&first, times_each).into_iter().map(|asked| (0, asked)).collect()
        });
        return ProcedureStep::Asked;
    }
    for _ in 0..times_each {
        for arm in &open {
            let control = if *arm == WITHIN { Control::Positive } else { Control::Case };
            script.trial((fact, arm, 0), control, |draft| write(draft, fact, arm, times));
        }
        if chain > 0 && known.round(fact) == 0 {
            script.burst((fact, CHAIN), Control::Case, |draft| write_chain(draft, times, chain));
        }
    }
    ProcedureStep::Asked
}

fn write(draft: &mut Draft<'_, '_>, fact: Fact, arm: &str, times: Times) -> TrialSubject {
    let request = draft.arrived_request();
    let refresher = (![WITHIN, WITHOUT].contains(&arm)).then(|| {
        draft.at(times.refresher);
        let refresher = if fact == Fact::RefreshByRequest { draft.again(request) } else { draft.reply(request) };
        draft.send(refresher)
    });
    draft.at(times.reply(arm));
    let reply = draft.reply(request);
    let asked = TrialSubject::of(draft.send(reply)).since(request);
    refresher.into_iter().fold(asked, TrialSubject::given)
}

/// Adds replies one after another, each a refresher for the next. Each is valid only if the one before arrived.
fn write_chain(draft: &mut Draft<'_, '_>, times: Times, chain: u32) -> Vec<(u32, TrialSubject)> {
    let request = draft.arrived_request();
    let mut before = request;
    let mut links = Vec::new();
    for number in 0..=chain {
        draft.at(times.link(number));
        let reply = draft.reply(request);
        let reply = draft.send(reply);
        if number > 0 {
            links.push((number, TrialSubject::of(reply).since(request).given(before)));
        }
        before = reply;
    }
    links
}

/// What one stage of the way up says: how far the reply was from the request, in seconds, and whether it passed.
struct Stage {
    belief: Belief,
    passed: f64,
    stopped: f64,
}

fn stage<'k>(known: &KnownFacts, votes: impl Iterator<Item = &'k TrialVote>) -> Stage {
    let (mut tally, mut passed, mut stopped) = (TrialTally::default(), Duration::ZERO, Duration::ZERO);
    for vote in votes {
        tally.add(vote.end);
        match vote.end {
            TrialEnd::Passed => passed = passed.max(vote.age),
            TrialEnd::Stopped => stopped = stopped.max(vote.age),
            TrialEnd::Void => {}
        }
    }
    let tenths = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
    Stage { belief: tally.belief(known.loss), passed: tenths(passed), stopped: tenths(stopped) }
}

/// Returns the stages, soonest first; those of a chain only as far as they are informative.
fn stages(known: &KnownFacts, fact: Fact) -> Vec<Stage> {
    let arms = [EARLY, MIDDLE, LATE].into_iter().filter(|arm| known.arm(fact, arm).next().is_some());
    let mut stages: Vec<Stage> = arms.map(|arm| stage(known, known.arm(fact, arm))).collect();
    let marks = known.by_mark(fact, CHAIN).into_keys();
    let links = marks.map(|mark| stage(known, known.arm(fact, CHAIN).filter(move |vote| vote.mark == mark)));
    stages.extend(links.take_while(|link| link.belief != Belief::Unsure));
    stages.sort_by(|one, other| one.passed.max(one.stopped).total_cmp(&other.passed.max(other.stopped)));
    stages
}

fn judge(known: &KnownFacts, fact: Fact) -> FactFinding {
    let tried = |arm: &&'static str| known.arm(fact, arm).next().is_some();
    let arms: Vec<&'static str> = [WITHIN, WITHOUT, EARLY, MIDDLE, LATE, CHAIN].into_iter().filter(tried).collect();
    let evidence: Vec<TrialCount> = arms.iter().map(|arm| known.tally(fact, arm).count(*arm)).collect();
    if evidence.is_empty() {
        return FactFinding::not_tested(fact, "it was not reached");
    }
    let inconclusive =
        |why: String| FactFinding::new(fact, FactValue::Inconclusive, Confidence::Unknown, evidence.clone(), Some(why));
    if let Some(why) = known.broken_control(fact) {
        return inconclusive(why);
    }
    if known.belief(fact, WITHOUT).passes() == Some(true) {
        return inconclusive(
            "replies passed without a refresher too, so the state lasts longer than it did before".to_owned(),
        );
    }
    let stages = stages(known, fact);
    if stages.is_empty() || stages.iter().any(|stage| stage.belief == Belief::Unsure) {
        return inconclusive(format!("{MIDDLE}: {}", known.why_unsure(known.tally(fact, MIDDLE))));
    }
    let confidence = stages.iter().map(|stage| stage.belief.confidence()).min().unwrap_or(Confidence::Unknown);
    let passes = |stage: &Stage| stage.belief.passes() == Some(true);
    let passing = stages.iter().take_while(|stage| passes(stage)).count();
    if stages[passing..].iter().any(passes) {
        return inconclusive("later replies passed and earlier ones did not".to_owned());
    }
    if passing == 0 || passing == stages.len() {
        let answer = if passing == 0 { FactValue::No } else { FactValue::Yes };
        return FactFinding::new(fact, answer, confidence, evidence, None);
    }
    let (low, high) = (stages[passing - 1].passed, stages[passing].stopped);
    let note = "there is a second limit: two boxes in series, or one with two clocks";
    FactFinding::new(fact, FactValue::Until { low, high }, confidence, evidence, Some(note.to_owned()))
}
