//! In the other direction: the far end sends requests, the near one replies.

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
use crate::middlebox::timeline::{EchoId, Endpoint, Goal, TimedPacket, TimelinePacket};

/// The procedure.
pub(super) const PROCEDURE: Procedure = Procedure { gate: arms::apart, plan, judge, takes: super::seconds };

/// Unsolicited replies come before the far end's first request, and only once: after that, a box that only checks
/// addresses lets them pass.
const STRAYS: u32 = 5;

const STRAY: Arm = arms::case("a reply from the near end before any request from the far end", |draft| {
    let id = EchoId::Fixed(draft.fresh());
    let reply = TimedPacket::new(draft.now(), Endpoint::Near, TimelinePacket::Reply, id);
    TrialSubject::of(draft.send(reply))
});

const ARMS: [Arm; 4] = [
    EXCHANGE,
    arms::case("a request from the far end", |draft| {
        let request = theirs(draft);
        TrialSubject::of(request)
    }),
    arms::case("the near end's reply to it", |draft| {
        let request = theirs(draft);
        draft.settle();
        let reply = draft.reply(request);
        TrialSubject::of(draft.send(reply)).since(request)
    }),
    arms::case("the near end's reply to it with another id", |draft| {
        let request = theirs(draft);
        draft.settle();
        let reply = draft.stray(request);
        TrialSubject::of(draft.send(reply)).since(request)
    }),
];

fn plan(known: &KnownFacts, script: &mut PlanBuilder<'_>) -> ProcedureStep {
    if known.round(Fact::Roles) == 0 {
        for _ in 0..STRAYS {
            script.trial((Fact::Roles, STRAY.what, 0), STRAY.control, STRAY.write);
        }
        script.pause(known.effort.settle());
    }
    arms::ask(known, script, Fact::Roles, &ARMS)
}

/// Sends a request from the far end to the address by which it knows the near end.
fn theirs(draft: &mut Draft<'_, '_>) -> usize {
    let ours = draft.arrived_request();
    let request = draft.request(Endpoint::Far);
    draft.send(TimedPacket { destination: Goal::SourceOfArrived(ours), ..request })
}

fn judge(known: &KnownFacts) -> FactFinding {
    let id_in_key = known.is(Fact::Id, &FactValue::Yes);
    let finding = arms::judge(known, Fact::Roles, &[&ARMS[..], &[STRAY]].concat(), |passes| match passes {
        [Some(false), ..] => Some((FactValue::FarMayNotAsk, vec![0])),
        [Some(true), Some(true), _, Some(true)] => Some((FactValue::NothingRemembered, vec![0, 1, 3])),
        [Some(true), Some(true), Some(other), Some(false)] => {
            let same = *other != id_in_key;
            Some((if same { FactValue::Same } else { FactValue::Different }, vec![0, 1, 2, 3]))
        }
        _ => None,
    });
    match finding.value {
        FactValue::Different => finding.with_note("two boxes in series, or one that treats the two directions apart"),
        _ => finding,
    }
}
