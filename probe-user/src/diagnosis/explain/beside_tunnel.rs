//! Replies that leave a place outside of the tunnel out of which their requests came.

use probe_ebpf::{Echo, Hop};

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{Evidence, path::Side, places::DropPoint},
    model::trace::PortTrace,
};

/// Requests that came in out of a tunnel, and replies that left by another device.
struct BesideTunnel<'a> {
    side: Side,
    tunnel: &'a str,
    exit: &'a str,
}

impl<'a> BesideTunnel<'a> {
    fn of(evidence: &'a Evidence, side: Side) -> Option<Self> {
        let (place, around) = (evidence.place(side)?, evidence.seen_around(side)?);
        let is_tunnel = |port: &PortTrace| around.tunnels.iter().any(|tunnel| tunnel.is_behind(&port.interface));
        let seen = |hop: Hop, leg: Echo| {
            place.ports.iter().filter(move |port| port.seen(hop, leg).is_some_and(|seen| !seen.is_empty()))
        };
        let tunnel = seen(Hop::NetifIn, Echo::Request).find(|port| is_tunnel(port))?;
        let mut exits = seen(Hop::Xmit, Echo::Reply);
        let exit = exits.next()?;
        (!is_tunnel(exit) && exits.all(|port| !is_tunnel(port))).then_some(Self {
            side,
            tunnel: &tunnel.interface,
            exit: &exit.interface,
        })
    }

    fn told(&self, evidence: &Evidence) -> String {
        let (name, tunnel, exit) = (evidence.name(self.side), self.tunnel, self.exit);
        format!("{name} took the requests out of the tunnel {tunnel}, and sends the replies by {exit}, outside of it")
    }
}

/// Explains replies that are lost behind such a place.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    (case.stop.place == DropPoint::Network && case.gap.leg == Echo::Reply).then_some(())?;
    let evidence = case.evidence;
    let beside = BesideTunnel::of(evidence, case.gap.last_seen.host)?;
    let to = evidence.local.host.address?;
    Some(StopExplanation {
        detail: Some(beside.told(evidence)),
        meaning: format!(
            "The route to {to} does not lead into {}, and what lies behind may not know {to}.",
            beside.tunnel
        ),
        commands: vec![format!("ip {} route get {to}", case.ip_version())],
        on: Some(beside.side),
        ..StopExplanation::default()
    })
}

/// Tells of such places, whatever stops the replies.
pub(in crate::diagnosis) fn notes(evidence: &Evidence) -> Vec<String> {
    evidence.sides().filter_map(|side| Some(BesideTunnel::of(evidence, side)?.told(evidence))).collect()
}
