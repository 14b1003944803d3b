//! Does an unsolicited reply create state, so that a reply in the other direction passes?

use super::{
    Procedure,
    arms::{self, Arm},
};
use crate::middlebox::datasheet::{
    fact::Fact,
    finding::{FactFinding, FactValue},
    known::KnownFacts,
    script::{Draft, TrialSubject},
};
use crate::middlebox::timeline::{EchoId, Endpoint, TimedPacket, TimelinePacket};

/// The procedure.
pub(super) const PROCEDURE: Procedure = Procedure {
    gate: arms::apart,
    plan: |known, script| arms::ask(known, script, Fact::Unsolicited, &arms::with_controls(known, &ARMS)),
    judge,
    takes: super::seconds,
};

const ARMS: [Arm; 2] = [
    arms::case("an unsolicited reply from the near end", |draft| {
        let reply = unasked(draft);
        TrialSubject::of(reply)
    }),
    arms::case("a reply from the far end with the same id after it", |draft| {
        let ours = unasked(draft);
        draft.settle();
        let theirs = draft.reply(ours);
        TrialSubject::of(draft.send(theirs)).since(ours)
    }),
];

fn unasked(draft: &mut Draft<'_, '_>) -> usize {
    let id = EchoId::Fixed(draft.fresh());
    let reply = TimedPacket::new(draft.now(), Endpoint::Near, TimelinePacket::Reply, id);
    draft.send(reply)
}

fn judge(known: &KnownFacts) -> FactFinding {
    let arms = arms::with_controls(known, &ARMS);
    let finding = arms::judge(known, Fact::Unsolicited, &arms, |passes| match passes {
        [Some(false), _] => Some((FactValue::No, vec![0])),
        [Some(true), Some(second)] => Some((if *second { FactValue::Yes } else { FactValue::No }, vec![0, 1])),
        _ => None,
    });
    match known.belief(Fact::Unsolicited, ARMS[0].what).passes() {
        Some(false) if finding.value == FactValue::No => {
            finding.with_note("the near end's own unsolicited reply is stopped too")
        }
        _ => finding,
    }
}
