//! What is rewritten: the near end's address, the id, and by which policy.

use super::{Procedure, ProcedureStep};
use crate::middlebox::timeline::{EchoId, Endpoint, Own, TimedPacket};
use crate::{
    middlebox::datasheet::{
        fact::Fact,
        finding::{FactFinding, FactValue, IdPolicy, Rewriting},
        ids::SPECIAL,
        known::KnownFacts,
        script::{Control, Draft, PlanBuilder, TrialSubject},
        votes::{TrialEnd, TrialTally, TrialVote},
    },
    model::verdict::Confidence,
};

/// The procedure.
pub(super) const PROCEDURE: Procedure = Procedure { gate: super::reached, plan, judge, takes: super::seconds };

const FRESH: &str = "requests with ordinary ids";
const KEPT_APART: &str = "requests with the ids 0, 1, 1023, 1024, 65535";
const FIRST: &str = "requests from one inner host";
const SECOND: &str = "requests from a second inner host with the same ids";

/// How many ordinary ids are tried: enough to distinguish a narrow range from all ids.
const IDS: usize = 12;

/// The chosen ids of a policy that uses the whole range are narrower than this once in ten million times.
const NARROW: u16 = 16_384;

fn plan(known: &KnownFacts, script: &mut PlanBuilder<'_>) -> ProcedureStep {
    let fact = Fact::Nat;
    let lacking = |arm, least: u32| known.tally(fact, arm).passed < least;
    if known.round(fact) >= 3 || (known.round(fact) > 0 && !lacking(FRESH, 10) && !lacking(KEPT_APART, 5)) {
        return ProcedureStep::Settled;
    }
    for id in SPECIAL {
        script.trial((fact, KEPT_APART, u32::from(id)), Control::Case, |draft| ask_with(draft, id, Own::First));
    }
    for _ in 0..IDS {
        script.trial((fact, FRESH, 0), Control::Case, |draft| {
            let id = draft.fresh();
            ask_with(draft, id, Own::First)
        });
    }
    if known.ends.has_second(Endpoint::Near) {
        for _ in 0..3 {
            pair(script);
        }
    }
    ProcedureStep::Asked
}

fn ask_with(draft: &mut Draft<'_, '_>, id: u16, source: Own) -> TrialSubject {
    let request = draft.request(Endpoint::Near);
    TrialSubject::of(draft.send(TimedPacket { id: EchoId::Fixed(id), source, ..request }))
}

/// Sends requests with the same id from two inner hosts, one after the other.
fn pair(script: &mut PlanBuilder<'_>) {
    let mut id = 0;
    script.trial((Fact::Nat, FIRST, 0), Control::Case, |draft| {
        id = draft.fresh();
        ask_with(draft, id, Own::First)
    });
    script.trial((Fact::Nat, SECOND, 0), Control::Case, |draft| {
        draft.settle();
        ask_with(draft, id, Own::Second)
    });
}

/// Returns the id that a packet was sent with and the one that it arrived with.
fn ids(vote: &TrialVote) -> Option<(u16, u16)> {
    Some((vote.sent_id?, vote.arrival.as_ref()?.id))
}

fn judge(known: &KnownFacts) -> FactFinding {
    let arms = [FRESH, KEPT_APART, FIRST, SECOND];
    let evidence: Vec<_> = arms.iter().map(|arm| known.tally(Fact::Nat, arm).count(*arm)).collect();
    let evidence: Vec<_> = evidence.into_iter().filter(|count| count.of + count.void > 0).collect();
    let seen: Vec<(u16, u16)> = known.arm(Fact::Nat, FRESH).filter_map(ids).collect();
    if evidence.is_empty() {
        return FactFinding::not_tested(Fact::Nat, "it was not reached");
    }
    if seen.len() < 5 {
        let why = known.why_unsure(known.tally(Fact::Nat, FRESH));
        return FactFinding::new(Fact::Nat, FactValue::Inconclusive, Confidence::Unknown, evidence, Some(why));
    }
    let address = if known.rewrites_address { Rewriting::Rewritten } else { Rewriting::Kept };
    let id = policy(known, &seen, address);
    let confidence = if seen.len() >= 10 { Confidence::Certain } else { Confidence::Likely };
    let finding = FactFinding::new(Fact::Nat, FactValue::Nat { address, id }, confidence, evidence, None);
    notes(known).into_iter().fold(finding, FactFinding::with_note)
}

fn policy(known: &KnownFacts, seen: &[(u16, u16)], address: Rewriting) -> IdPolicy {
    if seen.iter().any(|(sent, arrived)| sent != arrived) {
        let (low, high) = seen.iter().fold((u16::MAX, 0), |(low, high), (_, id)| (low.min(*id), high.max(*id)));
        return if high - low < NARROW { IdPolicy::Range { low, high } } else { IdPolicy::Random };
    }
    let second: Vec<(u16, u16)> = known.arm(Fact::Nat, SECOND).filter_map(ids).collect();
    match (address, second.iter().any(|(sent, arrived)| sent != arrived)) {
        (Rewriting::Rewritten, true) => IdPolicy::KeptWhereFree,
        (Rewriting::Rewritten, false) if !second.is_empty() => IdPolicy::Overloaded,
        _ => IdPolicy::Kept,
    }
}

/// Notes what is unusual about special ids, and what could not be tried.
fn notes(known: &KnownFacts) -> Vec<String> {
    let mut notes = Vec::new();
    for id in SPECIAL {
        let votes = || known.arm(Fact::Nat, KEPT_APART).filter(|vote| vote.sent_id == Some(id));
        let mut tally = TrialTally::default();
        votes().for_each(|vote| tally.add(vote.end));
        if tally.belief(known.loss).passes() == Some(false) {
            notes.push(format!("requests with id {id} do not pass"));
        }
        let kept = known.arm(Fact::Nat, FRESH).filter_map(ids).all(|(sent, arrived)| sent == arrived);
        if let Some((_, other)) = votes().find_map(ids).filter(|(sent, arrived)| kept && sent != arrived) {
            notes.push(format!("id {id} arrives as {other}"));
        }
    }
    let tried = known.arm(Fact::Nat, SECOND).any(|vote| vote.end == TrialEnd::Passed);
    if known.rewrites_address && !tried {
        notes.push("two inner hosts with the same id were not tried: the near end has no second address".to_owned());
    }
    notes
}
