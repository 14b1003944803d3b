//! May both ends ping with the same id at the same time?

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
use crate::middlebox::timeline::{EchoId, Endpoint, Goal, TimedPacket};

/// The procedure.
pub(super) const PROCEDURE: Procedure = Procedure {
    gate: arms::apart,
    plan: |known, script| arms::ask(known, script, Fact::BothEnds, &ARMS),
    judge,
    takes: super::seconds,
};

const ARMS: [Arm; 5] = [
    EXCHANGE,
    arms::case("a request from the far end with an id of its own", own_id),
    arms::case("a request from the far end with the id of the near end's request", |draft| {
        let (_, theirs) = both(draft);
        TrialSubject::of(theirs)
    }),
    arms::case("the far end's reply after requests from both ends with the same id", |draft| {
        let (ours, theirs) = both(draft);
        draft.settle();
        let reply = draft.reply(ours);
        TrialSubject::of(draft.send(reply)).since(theirs).given(theirs)
    }),
    arms::case("the near end's reply after requests from both ends with the same id", |draft| {
        let (_, theirs) = both(draft);
        draft.settle();
        let reply = draft.reply(theirs);
        TrialSubject::of(draft.send(reply)).since(theirs)
    }),
];

fn own_id(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let ours = draft.arrived_request();
    let theirs = draft.request(Endpoint::Far);
    TrialSubject::of(draft.send(TimedPacket { destination: Goal::SourceOfArrived(ours), ..theirs }))
}

/// Sends a request from both ends; the far one uses the id with which the near one's request arrived.
fn both(draft: &mut Draft<'_, '_>) -> (usize, usize) {
    let ours = draft.arrived_request();
    let theirs = draft.request(Endpoint::Far);
    let theirs = TimedPacket { id: EchoId::OfArrived(ours), destination: Goal::SourceOfArrived(ours), ..theirs };
    (ours, draft.send(theirs))
}

fn judge(known: &KnownFacts) -> FactFinding {
    arms::judge(known, Fact::BothEnds, &ARMS, |passes| match passes {
        [Some(false), Some(false), ..] => Some((FactValue::FarMayNotAsk, vec![0, 1])),
        [Some(false), Some(true), ..] => Some((FactValue::OpensForRequests, vec![0, 1])),
        [Some(true), Some(true), Some(true), Some(true)] => Some((FactValue::Independent, vec![0, 1, 2, 3])),
        [Some(true), Some(false), ..] => Some((FactValue::Collides, vec![0, 1])),
        [Some(true), Some(true), Some(false), _] => Some((FactValue::Collides, vec![0, 1, 2])),
        [Some(true), Some(true), _, Some(false)] => Some((FactValue::Collides, vec![0, 1, 3])),
        _ => None,
    })
}
