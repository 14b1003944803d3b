//! How long after a request, and how long after a reply, does a reply still pass?

use std::time::Duration;

use super::{
    Gate, Procedure,
    lifetime::{Bracket, Lifetime},
};
use crate::{
    middlebox::datasheet::{
        fact::Fact,
        finding::{FactFinding, FactValue, TrialCount},
        known::KnownFacts,
        measure::Unit,
        votes::{CERTAIN, TrialTally},
    },
    model::verdict::Confidence,
};

/// After a request.
pub(super) const AFTER_REQUEST: Procedure = Procedure {
    gate,
    plan: |known, script| REQUEST.plan(known, script),
    judge: |known| judge(known, REQUEST),
    takes: |known| takes(known, REQUEST),
};

/// After a reply.
pub(super) const AFTER_REPLY: Procedure = Procedure {
    gate,
    plan: |known, script| REPLY.plan(known, script),
    judge: |known| {
        let finding = judge(known, REPLY);
        match (known.answer(Fact::Timeout).and_then(FactValue::between), finding.value.between()) {
            (Some((low, high)), Some((after_low, after_high)))
                if low <= after_high + FIRST_REPLY && after_low + FIRST_REPLY <= high =>
            {
                finding.with_note("this is when the timeout after the request ends: the reply changed nothing")
            }
            _ => finding,
        }
    },
    takes: |known| takes(known, REPLY),
};

/// Seconds between the request and the first reply.
const FIRST_REPLY: f64 = 1.0;

const REQUEST: Lifetime =
    Lifetime { fact: Fact::Timeout, arm: "a reply", check: "a stray reply before it", first_reply: None };

const REPLY: Lifetime = Lifetime {
    fact: Fact::TimeoutAfterReply,
    arm: "a second reply",
    check: "a stray reply before it",
    first_reply: Some(Duration::from_secs(FIRST_REPLY as u64)),
};

/// Opens for one lifetime at a time: other packets would refresh the state that is measured.
fn gate(known: &KnownFacts) -> Gate {
    match (super::remembered(known), known.answer(Fact::Id)) {
        (Gate::Open, Some(FactValue::Yes)) => Gate::Open,
        (Gate::Open, Some(FactValue::No)) => Gate::Alone,
        (Gate::Open, _) => Gate::Shut("it is not known whether the id is part of the key".to_owned()),
        (gate, _) => gate,
    }
}

fn takes(known: &KnownFacts, lifetime: Lifetime) -> Duration {
    let bracket = lifetime.bracket(known);
    let longest = known.effort.longest;
    let high = bracket.high.map_or(longest, Duration::from_secs_f64);
    match known.round(lifetime.fact) {
        _ if known.ids_are_alike() => high * 12,
        0 => longest + longest / 3,
        _ => high + Duration::from_secs(3),
    }
}

/// Counts the trials around the end of the lifetime: the last that passed and the first that did not; the others are
/// summed.
fn evidence(known: &KnownFacts, lifetime: Lifetime) -> Vec<TrialCount> {
    let tallies: Vec<(u32, TrialTally)> = known.by_mark(lifetime.fact, lifetime.arm).into_iter().collect();
    let last = tallies.iter().rposition(|(_, tally)| tally.passed > 0).unwrap_or(0);
    let sum = |part: &[(u32, TrialTally)]| {
        part.iter().fold(TrialTally::default(), |sum, (_, tally)| TrialTally {
            passed: sum.passed + tally.passed,
            stopped: sum.stopped + tally.stopped,
            void: sum.void + tally.void,
        })
    };
    let behind = (last + 2).min(tallies.len());
    let around = tallies[last.min(behind)..behind].iter();
    let at = |(mark, tally): &(u32, TrialTally)| {
        let seconds = f64::from(*mark) / 1000.0;
        tally.count(format!("{} after {seconds:.1} s", lifetime.arm)).at(seconds, Unit::S)
    };
    let sums = [(&tallies[..last.min(behind)], "sooner"), (&tallies[behind..], "later")];
    let [sooner, later] = sums.map(|(part, when)| sum(part).count(format!("{} {when}", lifetime.arm)));
    let counts = std::iter::once(sooner).chain(around.map(at)).chain([later]);
    counts.filter(|count| count.of + count.void > 0).collect()
}

fn judge(known: &KnownFacts, lifetime: Lifetime) -> FactFinding {
    let fact = lifetime.fact;
    let evidence = evidence(known, lifetime);
    if evidence.is_empty() {
        return FactFinding::not_tested(fact, "it was not reached");
    }
    let Bracket { low, high, silence } = lifetime.bracket(known);
    let round = |time: f64| (time * 100.0).round() / 100.0;
    let error = known.clock_error.as_secs_f64();
    let answer = match (low, high) {
        (Some(low), Some(high)) => FactValue::Between { low: round((low - error).max(0.0)), high: round(high + error) },
        (Some(low), None) if low + 1.0 >= known.effort.longest.as_secs_f64() => FactValue::Beyond { low: round(low) },
        (None, Some(high)) => FactValue::Under { high: round(high + error) },
        _ => FactValue::Inconclusive,
    };
    let by_loss = known.loss.rate().powi(silence.stopped.try_into().unwrap_or(i32::MAX));
    let confidence = match answer {
        FactValue::Inconclusive => Confidence::Unknown,
        FactValue::Beyond { .. } => Confidence::Certain,
        // The replies of one trial share the state: if one of them removes it, its loss stops all of them.
        _ if known.ids_are_alike() && !matches!(known.answer(Fact::Replies), Some(FactValue::Unlimited { .. })) => {
            Confidence::Likely
        }
        _ if by_loss <= CERTAIN => Confidence::Certain,
        _ => Confidence::Likely,
    };
    let finding = FactFinding::new(fact, answer, confidence, evidence, None);
    match (&finding.value, low, high) {
        (FactValue::Inconclusive, ..) => finding.with_note("too many packets were lost to see where it ends"),
        (_, Some(low), Some(high)) if high - low > 0.6 => finding.with_note("not narrowed down further"),
        _ => finding,
    }
}
