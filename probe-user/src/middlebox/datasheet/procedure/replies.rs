//! How many replies one request lets pass: bursts of replies to one request, with one sequence number and with new
//! ones.

use super::{Procedure, ProcedureStep};
use crate::middlebox::timeline::TimedPacket;
use crate::{
    middlebox::datasheet::{
        effort::Level,
        fact::Fact,
        finding::{FactFinding, FactValue, TrialCount},
        known::KnownFacts,
        measure::Unit,
        script::{Control, Draft, PlanBuilder, TrialSubject},
        votes::{LIKELY, TrialEnd, TrialTally},
    },
    model::verdict::Confidence,
};

/// The procedure.
pub(super) const PROCEDURE: Procedure = Procedure { gate: super::remembered, plan, judge, takes: super::seconds };

const SAME: &str = "with the same sequence number";
const NEW: &str = "with new sequence numbers";

/// The bursts: how many replies, and how often.
const QUICK: [(u32, u32); 2] = [(2, 2), (10, 3)];
const LONG: [(u32, u32); 1] = [(100, 2)];

fn plan(known: &KnownFacts, script: &mut PlanBuilder<'_>) -> ProcedureStep {
    let round = known.round(Fact::Replies);
    let long = known.effort.level > Level::Quick && (1..4).contains(&round);
    let bursts: &[(u32, u32)] = match round {
        0 => &QUICK,
        // Again if the only request of each long burst was lost.
        _ if long && bursts(known, SAME).iter().all(|burst| burst.replies < 100) => &LONG,
        _ => return ProcedureStep::Settled,
    };
    for (replies, times) in bursts {
        let more = u32::from(known.ids_are_alike());
        for time in 0..*times + more {
            for arm in [SAME, NEW] {
                let first_mark = ((round * 10 + time) * 1000 + replies) * 1000;
                script.burst((Fact::Replies, arm), Control::Case, |draft| burst(draft, arm, first_mark, *replies));
            }
        }
    }
    ProcedureStep::Asked
}

/// Sends one request and `replies` replies to it, at half the rate so that other trials fit in between.
fn burst(draft: &mut Draft<'_, '_>, arm: &str, first_mark: u32, replies: u32) -> Vec<(u32, TrialSubject)> {
    let request = draft.arrived_request();
    let one = |index: u32| {
        let reply = draft.reply(request);
        let seq = if arm == NEW { reply.seq.wrapping_add(index as u16 + 1) } else { reply.seq };
        let packet = draft.send(TimedPacket { seq, ..reply });
        draft.pace();
        (first_mark + index, TrialSubject::of(packet).since(request))
    };
    (0..replies).map(one).collect()
}

/// The outcome of each reply of a burst, in order; those that could not be tried are left out.
struct Burst {
    replies: u32,
    passed: Vec<bool>,
}

fn bursts(known: &KnownFacts, arm: &'static str) -> Vec<Burst> {
    let mut bursts: Vec<(u32, Burst)> = Vec::new();
    for vote in known.arm(Fact::Replies, arm).filter(|vote| vote.end != TrialEnd::Void) {
        let key = vote.mark / 1000;
        if bursts.last().is_none_or(|(last, _)| *last != key) {
            bursts.push((key, Burst { replies: key % 1000, passed: Vec::new() }));
        }
        if let Some((_, burst)) = bursts.last_mut() {
            burst.passed.push(vote.end == TrialEnd::Passed);
        }
    }
    bursts.into_iter().map(|(_, burst)| burst).collect()
}

/// Returns the limit that the bursts of one kind show.
fn limit(known: &KnownFacts, bursts: &[Burst]) -> Option<(FactValue, Confidence)> {
    let largest = bursts.iter().map(|burst| burst.replies).max()?;
    let passed = |burst: &&Burst| burst.passed.iter().filter(|passed| **passed).count();
    let big: Vec<&Burst> = bursts.iter().filter(|burst| burst.replies == largest).collect();
    let near_end = |burst: &&&Burst| burst.passed.iter().rev().take(5).any(|passed| *passed);
    let late = big.iter().filter(near_end).count();
    if late > 0 {
        let confidence = if late > 1 { Confidence::Certain } else { Confidence::Likely };
        return Some((FactValue::Unlimited { tried: largest }, confidence));
    }
    // All end early: the missing packets after the last that passed must be more than loss.
    let tail = |burst: &&Burst| burst.passed.iter().rev().take_while(|passed| !**passed).count();
    let silence = big.iter().map(tail).sum::<usize>();
    if known.loss.rate().powi(silence.try_into().unwrap_or(i32::MAX)) > LIKELY {
        return None;
    }
    let most = bursts.iter().map(|burst| passed(&burst)).max()?;
    let long = bursts.iter().filter(|burst| burst.passed.len() > most);
    let agreeing = long.filter(|burst| passed(burst) == most).count();
    // If ids are ignored, a burst may also meet state that is old, or partly used up.
    if known.ids_are_alike() && agreeing < 2 {
        return None;
    }
    let confidence = if agreeing >= 3 { Confidence::Certain } else { Confidence::Likely };
    Some((FactValue::Limit { replies: u32::try_from(most).unwrap_or(u32::MAX) }, confidence))
}

fn evidence(known: &KnownFacts) -> Vec<TrialCount> {
    let mut counts = Vec::new();
    for arm in [SAME, NEW] {
        let mut tallies = std::collections::BTreeMap::<u32, TrialTally>::new();
        let votes = known.arm(Fact::Replies, arm);
        votes.for_each(|vote| tallies.entry(vote.mark / 1000 % 1000).or_default().add(vote.end));
        let count = |(replies, tally): (u32, TrialTally)| {
            tally.count(format!("{replies} replies to one request, {arm}")).at(replies, Unit::Packets)
        };
        counts.extend(tallies.into_iter().map(count));
    }
    counts
}

fn judge(known: &KnownFacts) -> FactFinding {
    let evidence = evidence(known);
    if evidence.is_empty() {
        return FactFinding::not_tested(Fact::Replies, "it was not reached");
    }
    let [same, new] = [SAME, NEW].map(|arm| limit(known, &bursts(known, arm)));
    let Some((answer, confidence)) = same.clone().filter(|(answer, _)| *answer != FactValue::Limit { replies: 0 })
    else {
        let mut all = TrialTally::default();
        known.arm(Fact::Replies, SAME).for_each(|vote| all.add(vote.end));
        let why = known.why_unsure(all);
        return FactFinding::new(Fact::Replies, FactValue::Inconclusive, Confidence::Unknown, evidence, Some(why));
    };
    let finding = FactFinding::new(Fact::Replies, answer.clone(), confidence, evidence, None);
    match new {
        Some((FactValue::Limit { replies: 0 }, _)) => {
            finding.with_note("none with a sequence number other than the request's")
        }
        Some((other, _)) if other != answer => {
            finding.with_note("the limit differs with new sequence numbers: see the counts")
        }
        _ => finding,
    }
}
