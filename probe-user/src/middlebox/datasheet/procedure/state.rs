//! Is any state kept: do unsolicited replies pass before any request?

use std::time::Duration;

use super::{
    Gate, Procedure, ProcedureStep,
    arms::{self, Arm, EXCHANGE},
};
use crate::middlebox::timeline::{EchoId, Endpoint, TimedPacket, TimelinePacket};
use crate::{
    middlebox::datasheet::{
        fact::Fact,
        finding::{FactFinding, FactValue},
        known::KnownFacts,
        script::{Control, Draft, PlanBuilder, TrialSubject},
    },
    model::verdict::Confidence,
};

/// The procedure.
pub(super) const PROCEDURE: Procedure = Procedure { gate: |_| Gate::Alone, plan, judge, takes: super::seconds };

const BEFORE: Arm = arms::case("a reply before any request", unasked);

/// Five, because they cannot be repeated: after a request, a box that only checks addresses lets them pass.
const TIMES: u32 = 5;

const APART: Duration = Duration::from_millis(50);

fn unasked(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let id = EchoId::Fixed(draft.fresh());
    let reply = TimedPacket::new(draft.now(), Endpoint::Far, TimelinePacket::Reply, id);
    TrialSubject::of(draft.send(reply))
}

fn plan(known: &KnownFacts, script: &mut PlanBuilder<'_>) -> ProcedureStep {
    if known.round(Fact::State) > 0 {
        return arms::ask(known, script, Fact::State, &[EXCHANGE]);
    }
    for _ in 0..TIMES {
        script.trial((Fact::State, BEFORE.what, 0), BEFORE.control, BEFORE.write);
        script.pause(APART);
    }
    script.pause(APART);
    for _ in 0..3 {
        script.trial((Fact::State, EXCHANGE.what, 0), Control::Positive, EXCHANGE.write);
        script.pause(APART);
    }
    ProcedureStep::Asked
}

fn judge(known: &KnownFacts) -> FactFinding {
    let finding = arms::judge(known, Fact::State, &[EXCHANGE, BEFORE], |passes| match passes {
        [Some(true)] => Some((FactValue::No, vec![0])),
        [Some(false)] => Some((FactValue::Yes, vec![0])),
        _ => None,
    });
    if finding.value != FactValue::No {
        return finding;
    }
    let confidence = finding.confidence.min(Confidence::Likely);
    let note =
        "a box that only checks addresses would give the same result if the two ends had pinged each other just before";
    FactFinding { confidence, ..finding }.with_note(note)
}
