//! Are the two addresses part of the key: may the reply come from, or go to, another one?

use super::{
    Gate, Procedure, ProcedureStep,
    arms::{self, Arm},
    key::in_key,
};
use crate::middlebox::datasheet::{
    fact::Fact,
    known::KnownFacts,
    script::{Control, Draft, PlanBuilder, TrialSubject},
};
use crate::middlebox::timeline::{Endpoint, Goal, Own, TimedPacket};

/// The address that the request went to.
pub(super) const SOURCE: Procedure = Procedure {
    gate: |known| second(known, Endpoint::Far),
    plan: |known, script| plan(known, script, Fact::Source, &SOURCE_ARMS),
    judge: |known| in_key(known, Fact::Source, &SOURCE_ARMS),
    takes: super::seconds,
};

/// The address that the request came from.
pub(super) const DESTINATION: Procedure = Procedure {
    gate: |known| match known.rewrites_address {
        true => Gate::Shut(
            "the near end's address is rewritten: the far end cannot send to another address of it".to_owned(),
        ),
        false => second(known, Endpoint::Near),
    },
    plan: |known, script| plan(known, script, Fact::Destination, &DESTINATION_ARMS),
    judge: |known| in_key(known, Fact::Destination, &DESTINATION_ARMS),
    takes: super::seconds,
};

const SOURCE_ARMS: [Arm; 2] = [
    arms::case("a reply from the far end's second address", from_second),
    Arm {
        what: "the reply from the second address to a request sent there",
        control: Control::Positive,
        write: asked_at_second,
    },
];

const DESTINATION_ARMS: [Arm; 2] = [
    arms::case("a reply to the near end's second address", to_second),
    Arm {
        what: "the reply to the second address to a request sent from there",
        control: Control::Positive,
        write: second_asked,
    },
];

fn second(known: &KnownFacts, side: Endpoint) -> Gate {
    let end = if side == Endpoint::Near { "near" } else { "far" };
    match super::remembered(known) {
        Gate::Open if !known.ends.has_second(side) => {
            Gate::Shut(format!("the {end} end's interface has no second address"))
        }
        gate => gate,
    }
}

fn plan(known: &KnownFacts, script: &mut PlanBuilder<'_>, fact: Fact, arms: &[Arm]) -> ProcedureStep {
    let ask = if known.ids_are_alike() { arms::ask_in_order } else { arms::ask };
    ask(known, script, fact, arms)
}

fn from_second(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let request = draft.arrived_request();
    let reply = draft.reply(request);
    TrialSubject::of(draft.send(TimedPacket { source: Own::Second, ..reply })).since(request)
}

fn asked_at_second(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let request = draft.request(Endpoint::Near);
    let request = draft.send(TimedPacket { destination: Goal::Second, ..request });
    draft.settle();
    let reply = draft.reply(request);
    TrialSubject::of(draft.send(TimedPacket { source: Own::Second, ..reply })).since(request)
}

fn to_second(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let request = draft.arrived_request();
    let reply = draft.reply(request);
    TrialSubject::of(draft.send(TimedPacket { destination: Goal::Second, ..reply })).since(request)
}

fn second_asked(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let request = draft.request(Endpoint::Near);
    let request = draft.send(TimedPacket { source: Own::Second, ..request });
    draft.settle();
    let reply = draft.reply(request);
    TrialSubject::of(draft.send(reply)).since(request)
}
