//! Which ICMP errors pass, and does the state survive them (RFC 5508 §4, RFC 792, RFC 4443)?

use super::{
    Procedure,
    arms::{self, Arm},
};
use crate::middlebox::datasheet::{
    fact::Fact,
    finding::FactValue,
    script::{Control, Draft, TrialSubject},
};
use crate::middlebox::timeline::{EchoId, Endpoint, ErrorQuote, Goal, TimedPacket, TimelinePacket};

/// The procedure.
pub(super) const PROCEDURE: Procedure = Procedure {
    gate: arms::apart,
    plan: |known, script| arms::ask(known, script, Fact::Errors, &arms::with_controls(known, &ARMS)),
    judge: |known| {
        arms::judge(known, Fact::Errors, &arms::with_controls(known, &ARMS), |passes| match passes {
            [Some(about_seen), Some(about_unseen), Some(state_lives)] => {
                let (about_seen, about_unseen, state_lives) = (*about_seen, *about_unseen, *state_lives);
                Some((FactValue::Errors { about_seen, about_unseen, state_lives }, vec![0, 1, 2]))
            }
            _ => None,
        })
    },
    takes: super::seconds,
};

const ARMS: [Arm; 3] = [
    arms::case("an error about a request that was sent", |draft| {
        let request = draft.arrived_request();
        let error = about(draft, request);
        TrialSubject::of(draft.send(error)).since(request)
    }),
    arms::case("an error about a request that was never sent", |draft| {
        let request = draft.arrived_request();
        let id = EchoId::Fixed(draft.fresh());
        let error = about(draft, request);
        let error = TimedPacket { message: TimelinePacket::Error(ErrorQuote::Never), id, ..error };
        TrialSubject::of(draft.send(error))
    }),
    Arm { what: "the reply after an error about its request", control: Control::Unseen, write: after_error },
];

fn after_error(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let request = draft.arrived_request();
    let error = about(draft, request);
    let error = draft.send(error);
    draft.settle();
    let reply = draft.reply(request);
    TrialSubject::of(draft.send(reply)).since(error)
}

/// Returns a "host unreachable" (IPv4 type 3 code 1) or "address unreachable" (IPv6 type 1 code 3) from the far end.
/// The sender knows the family, and reads code 1 accordingly.
fn about(draft: &Draft<'_, '_>, request: usize) -> TimedPacket {
    let message = TimelinePacket::Error(ErrorQuote::Packet(request));
    let packet = TimedPacket::new(draft.now(), Endpoint::Far, message, EchoId::OfArrived(request));
    TimedPacket { code: 1, destination: Goal::SourceOfArrived(request), ..packet }
}
