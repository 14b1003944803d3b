//! Is the ICMP code part of the key, or must it be 0?

use super::{
    Procedure, ProcedureStep,
    arms::{self, Arm, EXCHANGE},
};
use crate::middlebox::datasheet::{
    fact::Fact,
    finding::{FactFinding, FactValue},
    known::KnownFacts,
    script::{Draft, PlanBuilder, TrialSubject},
};
use crate::middlebox::timeline::{Endpoint, TimedPacket};

/// The procedure.
pub(super) const PROCEDURE: Procedure = Procedure { gate: super::remembered, plan, judge, takes: super::seconds };

const ONE_TO_ZERO: Arm = arms::case("a reply with code 1 to a request with code 0", |draft| answered(draft, 0, 1));
const REQUEST: Arm = arms::case("a request with code 1", |draft| TrialSubject::of(coded(draft, 1)));
const ONE_TO_ONE: Arm = arms::case("a reply with code 1 to a request with code 1", |draft| answered(draft, 1, 1));
const ZERO_TO_ONE: Arm = arms::case("a reply with code 0 to a request with code 1", |draft| answered(draft, 1, 0));

/// Returns the arms. If the box ignores the id, requests with code 0 let all replies with code 0 pass.
fn arms(known: &KnownFacts) -> Vec<Arm> {
    match known.ids_are_alike() {
        true => vec![ONE_TO_ZERO, REQUEST, ONE_TO_ONE, EXCHANGE],
        false => arms::with_controls(known, &[ONE_TO_ZERO, REQUEST, ONE_TO_ONE, ZERO_TO_ONE]),
    }
}

fn plan(known: &KnownFacts, script: &mut PlanBuilder<'_>) -> ProcedureStep {
    let ask = if known.ids_are_alike() { arms::ask_in_order } else { arms::ask };
    ask(known, script, Fact::Code, &arms(known))
}

fn coded(draft: &mut Draft<'_, '_>, code: u8) -> usize {
    let request = draft.request(Endpoint::Near);
    draft.send(TimedPacket { code, ..request })
}

fn answered(draft: &mut Draft<'_, '_>, asked: u8, code: u8) -> TrialSubject {
    let request = coded(draft, asked);
    draft.settle();
    let reply = draft.reply(request);
    TrialSubject::of(draft.send(TimedPacket { code, ..reply })).since(request)
}

fn judge(known: &KnownFacts) -> FactFinding {
    arms::judge(known, Fact::Code, &arms(known), |passes| match passes {
        [_, Some(false), ..] => Some((FactValue::ZeroOnly, vec![1])),
        [_, _, Some(false), ..] => Some((FactValue::ZeroOnly, vec![2])),
        [Some(other), Some(true), Some(true)] => {
            Some((if *other { FactValue::No } else { FactValue::Yes }, vec![0, 2]))
        }
        [Some(false), _, Some(true), Some(false)] => Some((FactValue::Yes, vec![0, 2, 3])),
        [Some(true), _, Some(true), Some(true)] => Some((FactValue::No, vec![0, 2, 3])),
        [Some(_), _, Some(true), Some(_)] => Some((FactValue::Partly, vec![0, 2, 3])),
        _ => None,
    })
}
