//! Is the id, is the sequence number part of the key?

use super::{
    Procedure,
    arms::{self, Arm, EXCHANGE},
};
use crate::middlebox::datasheet::{
    fact::Fact,
    finding::{FactFinding, FactValue},
    known::KnownFacts,
    script::{Draft, TrialSubject},
};
use crate::middlebox::timeline::TimedPacket;

/// The id.
pub(super) const ID: Procedure = Procedure {
    gate: super::remembered,
    plan: |known, script| arms::ask(known, script, Fact::Id, &ID_ARMS),
    judge: |known| in_key(known, Fact::Id, &ID_ARMS),
    takes: super::seconds,
};

/// The sequence number.
pub(super) const SEQ: Procedure = Procedure {
    gate: super::remembered,
    // If ids are ignored, requests that come later in the run have other sequence numbers.
    plan: |known, script| {
        let ask = if known.ids_are_alike() { arms::ask_in_order } else { arms::ask };
        ask(known, script, Fact::Seq, &arms::with_controls(known, &SEQ_ARMS))
    },
    judge: |known| in_key(known, Fact::Seq, &arms::with_controls(known, &SEQ_ARMS)),
    takes: super::seconds,
};

const ID_ARMS: [Arm; 2] = [EXCHANGE, arms::case("a reply with another id", other_id)];

const SEQ_ARMS: [Arm; 1] = [arms::case("a reply with another sequence number", other_seq)];

fn other_id(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let request = draft.arrived_request();
    let reply = draft.stray(request);
    TrialSubject::of(draft.send(reply)).since(request)
}

fn other_seq(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let request = draft.arrived_request();
    let reply = draft.reply(request);
    TrialSubject::of(draft.send(TimedPacket { seq: 7, ..reply })).since(request)
}

/// Decides whether a field is part of the key: it is if a reply that differs only in this field is stopped.
pub(super) fn in_key(known: &KnownFacts, fact: Fact, arms: &[Arm]) -> FactFinding {
    arms::judge(known, fact, arms, |passes| match passes {
        [Some(true)] => Some((FactValue::No, vec![0])),
        [Some(false)] => Some((FactValue::Yes, vec![0])),
        _ => None,
    })
}
