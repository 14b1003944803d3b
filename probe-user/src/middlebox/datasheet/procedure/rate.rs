//! How many requests a second pass: a ramp of short bursts, bounded, with nothing else on the wire.

use std::time::Duration;

use super::{Gate, Procedure, ProcedureStep};
use crate::middlebox::timeline::{EchoId, Endpoint, TimedPacket, TimelinePacket};
use crate::{
    middlebox::datasheet::{
        fact::Fact,
        finding::{FactFinding, FactValue, TrialCount},
        known::KnownFacts,
        measure::Unit,
        script::{Control, Draft, PlanBuilder, TrialSubject},
        votes::{CERTAIN, TrialEnd, TrialTally, at_least},
    },
    model::verdict::Confidence,
};

/// The procedure.
pub(super) const PROCEDURE: Procedure = Procedure {
    gate: |known| if known.reaches() { Gate::Alone } else { super::reached(known) },
    plan,
    judge,
    takes: |known| Duration::from_secs(u64::try_from(steps(known).len()).unwrap_or(0) * 4),
};

const ARM: &str = "requests";

/// The pause between two bursts, so that a limit has recovered from the one before.
const REST: Duration = Duration::from_secs(2);

/// Returns the rates to try, in requests per second, each with the number of requests for two seconds.
fn steps(known: &KnownFacts) -> Vec<(u32, u32)> {
    let rates = [10, 20, 50, 100, 200].into_iter().filter(|rate| *rate <= known.effort.highest_rate);
    rates.map(|rate| (rate, rate * 2)).collect()
}

fn plan(known: &KnownFacts, script: &mut PlanBuilder<'_>) -> ProcedureStep {
    let steps = steps(known);
    let Some(fastest) = steps.last().filter(|_| known.round(Fact::Rate) == 0) else { return ProcedureStep::Settled };
    script.hurry(fastest.0);
    for (rate, count) in &steps {
        script.burst((Fact::Rate, ARM), Control::Case, |draft| burst(draft, *rate, *count));
        script.pause(REST + Duration::from_secs(1) * *count / *rate);
    }
    ProcedureStep::Asked
}

fn burst(draft: &mut Draft<'_, '_>, rate: u32, count: u32) -> Vec<(u32, TrialSubject)> {
    let id = EchoId::Fixed(draft.fresh());
    let one = |index: u32| {
        let request = TimedPacket::new(draft.now(), Endpoint::Near, TimelinePacket::Request, id);
        let packet = draft.send(TimedPacket { seq: u16::try_from(index).unwrap_or(u16::MAX), ..request });
        draft.wait(Duration::from_secs(1) / rate);
        (rate, TrialSubject::of(packet))
    };
    (0..count).map(one).collect()
}

fn judge(known: &KnownFacts) -> FactFinding {
    let fact = Fact::Rate;
    let tallies = known.by_mark(fact, ARM);
    let name = |(rate, tally): (&u32, &TrialTally)| {
        tally.count(format!("requests at {rate} a second")).at(*rate, Unit::PacketsPerSecond)
    };
    let evidence: Vec<TrialCount> = tallies.iter().map(name).collect();
    if evidence.is_empty() {
        return FactFinding::not_tested(fact, "it was not reached");
    }
    if tallies.values().any(|tally| tally.of() == 0) {
        let why = "some could not be sent at all".to_owned();
        return FactFinding::new(fact, FactValue::Inconclusive, Confidence::Unknown, evidence, Some(why));
    }
    let limited = |tally: &TrialTally| at_least(tally.stopped, tally.of(), known.loss.worst()) < CERTAIN;
    let fastest = tallies.keys().next_back().copied().unwrap_or(0);
    let Some(knee) = tallies.iter().find(|(_, tally)| limited(tally)).map(|(rate, _)| *rate) else {
        return FactFinding::new(fact, FactValue::Unlimited { tried: fastest }, Confidence::Certain, evidence, None);
    };
    let free = tallies.keys().copied().filter(|rate| *rate < knee).max().unwrap_or(0);
    let passed: Vec<bool> =
        known.arm(fact, ARM).filter(|vote| vote.mark == fastest).map(|vote| vote.end == TrialEnd::Passed).collect();
    let half = &passed[passed.len() / 2..];
    let share = half.iter().filter(|passed| **passed).count() as f64 / half.len().max(1) as f64;
    let burst = passed.iter().take_while(|passed| **passed).count();
    let answer = FactValue::Rate {
        free,
        limited: knee,
        sustained: (share * f64::from(fastest) * 10.0).round() / 10.0,
        burst: u32::try_from(burst).unwrap_or(u32::MAX),
    };
    // Above the knee all rates must be limited; otherwise the packets were lost for another reason.
    let steady = tallies.iter().filter(|(rate, _)| **rate >= knee).all(|(_, tally)| limited(tally));
    if !steady {
        let why = format!("packets were lost at {knee} a second but passed at higher rates").to_owned();
        return FactFinding::new(fact, FactValue::Inconclusive, Confidence::Unknown, evidence, Some(why));
    }
    FactFinding::new(fact, answer, Confidence::Certain, evidence, None)
}
