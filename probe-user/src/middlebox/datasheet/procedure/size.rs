//! Which sizes pass: small, the largest that fits into an Ethernet frame, one byte more, and several fragments.

use std::collections::BTreeMap;

use super::{Procedure, ProcedureStep};
use crate::middlebox::timeline::{Endpoint, TimedPacket};
use crate::{
    middlebox::datasheet::{
        fact::Fact,
        finding::{FactFinding, FactValue, TrialCount},
        known::KnownFacts,
        measure::Unit,
        script::{Control, Draft, PlanBuilder, TrialSubject},
        votes::{Belief, TrialTally},
    },
    model::verdict::Confidence,
};

/// The procedure.
pub(super) const PROCEDURE: Procedure = Procedure { gate: super::reached, plan, judge, takes: super::seconds };

const REQUESTS: &str = "requests";
const REPLIES: &str = "replies";

/// Returns the payload sizes to try, in bytes. Of 1500 bytes, the IP header without options and the ICMP header leave
/// 1472 over IPv4 and 1452 over IPv6.
fn sizes(known: &KnownFacts) -> [u16; 4] {
    let whole = if known.ends.family() == 6 { 1452 } else { 1472 };
    [56, whole, whole + 1, 4000]
}

fn plan(known: &KnownFacts, script: &mut PlanBuilder<'_>) -> ProcedureStep {
    let fact = Fact::Size;
    if known.round(fact) >= known.most_rounds() {
        return ProcedureStep::Settled;
    }
    let open = |arm, size: u16| {
        let tally = known.by_mark(fact, arm).get(&u32::from(size)).copied().unwrap_or_default();
        known.wants_more(tally, tally.belief(known.loss))
    };
    let wanted: Vec<(&'static str, u16)> = [REQUESTS, REPLIES]
        .into_iter()
        .flat_map(|arm| sizes(known).map(|size| (arm, size)))
        .filter(|(arm, size)| open(arm, *size))
        .collect();
    for _ in 0..3 {
        for (arm, size) in &wanted {
            let key = (fact, *arm, u32::from(*size));
            script.trial(key, Control::Case, |draft| match *arm {
                REQUESTS => sized_request(draft, *size),
                _ => sized_reply(draft, *size),
            });
        }
    }
    if wanted.is_empty() { ProcedureStep::Settled } else { ProcedureStep::Asked }
}

fn sized_request(draft: &mut Draft<'_, '_>, size: u16) -> TrialSubject {
    let request = draft.request(Endpoint::Near);
    TrialSubject::of(draft.send(TimedPacket { size, ..request }))
}

fn sized_reply(draft: &mut Draft<'_, '_>, size: u16) -> TrialSubject {
    let request = draft.arrived_request();
    let reply = draft.reply(request);
    TrialSubject::of(draft.send(TimedPacket { size, ..reply })).since(request)
}

/// Returns the largest size of one kind that passes, if every smaller one passes too, and how sure that is.
fn largest(known: &KnownFacts, tallies: &BTreeMap<u32, TrialTally>) -> Option<(u16, Confidence)> {
    let mut largest = (0, Confidence::Certain);
    let mut ended = false;
    for (size, tally) in tallies {
        let belief = tally.belief(known.loss);
        match (belief, ended) {
            (Belief::Passes(_), true) | (Belief::Unsure, _) => return None,
            (Belief::Passes(_), false) => largest.0 = u16::try_from(*size).unwrap_or(u16::MAX),
            (Belief::Stops(_), _) => ended = true,
        }
        largest.1 = largest.1.min(belief.confidence());
    }
    (!tallies.is_empty()).then_some(largest)
}

fn judge(known: &KnownFacts) -> FactFinding {
    let by_size = [REQUESTS, REPLIES].map(|arm| (arm, known.by_mark(Fact::Size, arm)));
    let counts = |(arm, tallies): &(&str, BTreeMap<u32, TrialTally>)| -> Vec<TrialCount> {
        tallies
            .iter()
            .map(|(size, tally)| tally.count(format!("{arm} with {size} bytes")).at(*size, Unit::Bytes))
            .collect()
    };
    let evidence: Vec<TrialCount> = by_size.iter().flat_map(counts).collect();
    if evidence.is_empty() {
        return FactFinding::not_tested(Fact::Size, "it was not reached");
    }
    let [request, reply] = [0, 1].map(|index| largest(known, &by_size[index].1));
    let (Some(request), Some(reply)) = (request, reply) else {
        let why = "it is not known whether some sizes pass".to_owned();
        return FactFinding::new(Fact::Size, FactValue::Inconclusive, Confidence::Unknown, evidence, Some(why));
    };
    let answer = FactValue::Sizes { request: request.0, reply: reply.0, tried: sizes(known)[3] };
    FactFinding::new(Fact::Size, answer, request.1.min(reply.1), evidence, None)
}
