//! The rule about packets for another host that a route or the socket's device sends over `lo`, which leads to none.

use super::{Ruling, Weight};
use crate::{
    diagnosis::{
        Evidence,
        document::{Cause, Witness},
        ledger::Gap,
        path::Side,
        places::{DropLocation, DropPoint, Whose},
    },
    model::trace::{Finding, RouteChoice, RoutePurpose},
};

/// The reason of such a stop.
pub(in crate::diagnosis) const OVER_LO: &str = "OVER_LO";

/// Why packets for another host went over `lo`.
pub(in crate::diagnosis) enum SentOver<'a> {
    /// The socket is bound to it.
    Socket,
    /// A route leads there.
    Route(&'a RouteChoice),
}

/// Judges packets for another host that left by `lo`: they come back to this host, or IPv6 refuses them, and no other host had
/// anything to do with it.
pub(super) fn judge(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    (gap.leg == evidence.first_leg() && gap.last_seen.host == Side::Local).then_some(())?;
    let detail = Some(said(&over_lo(evidence)?, evidence));
    let spot = DropLocation { leg: gap.leg, host: Whose::Local, place: DropPoint::Call };
    let cause = Cause { reason: Some(OVER_LO.into()), detail, ..Cause::default() };
    Ruling::at(vec![spot], cause, Witness::Counters, Weight::Explains)
}

/// Returns why the sender's packets go over `lo`, if they do and are for another host.
pub(in crate::diagnosis) fn over_lo(evidence: &Evidence) -> Option<SentOver<'_>> {
    let target = evidence.target.address;
    let own = |finding: &Finding| {
        matches!(finding, Finding::Address { address, own: true } if *address == target)
            || matches!(finding, Finding::Holder(holder) if holder.has_here(target))
    };
    let others = !target.is_loopback() && !target.is_multicast() && !evidence.findings(Side::Local).any(own);
    (others && evidence.local.host.interface == "lo").then_some(())?;
    let socket = evidence.sending.socket.as_ref();
    let bound = socket.and_then(|socket| Some((socket, socket.devices.get(&socket.bound_to?)?)));
    if let Some((socket, _)) = bound.filter(|(_, device)| *device == "lo") {
        return socket.target_at.is_none().then_some(SentOver::Socket);
    }
    let ways = evidence.findings(Side::Local).filter_map(|finding| match finding {
        Finding::Routing(choice) if choice.purpose == RoutePurpose::Way && choice.to == target => Some(choice),
        _ => None,
    });
    let mut ways = ways.filter(|way| way.interface.as_deref() == Some("lo") && !way.is_local() && way.ends.is_none());
    ways.next().map(SentOver::Route)
}

/// Says by what.
fn said(over: &SentOver<'_>, evidence: &Evidence) -> String {
    let target = evidence.target.address;
    match over {
        SentOver::Socket => {
            format!("{target} is no address of this host, and a socket bound to lo reaches no other host")
        }
        SentOver::Route(way) => format!("{}, and lo reaches no other host", way.text()),
    }
}
