//! Packets that went to another router than the route names, as an ICMP redirect said.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{path::Side, places::DropPoint},
    model::trace::{Finding, NextHopFacts},
};

/// Explains a stop after a gateway that the kernel took from a redirect: at that gateway, or where nobody watches.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let evidence = case.evidence;
    (case.gap.leg == evidence.first_leg()).then_some(())?;
    let hop = evidence.findings(Side::Local).find_map(|finding| match finding {
        Finding::NextHop(hop) if hop.to == evidence.target.address && hop.redirected_from.is_some() => Some(hop),
        _ => None,
    })?;
    let own = hop.redirected_from?;
    let there = match case.spot.side() {
        Some(side @ Side::Via(_)) => has(case, side, hop),
        Some(_) => false,
        None => case.stop.place == DropPoint::Network,
    };
    there.then_some(())?;
    let (who, to, next) = (evidence.whom(Side::Local), evidence.target.address, hop.next);
    let version = case.ip_version();
    let said = format!(
        "{who} sends them via {next}, as an ICMP redirect once said, and not via {own}, the gateway of its route {}",
        hop.route
    );
    let ends =
        case.stop.cause.setting.as_ref().map(|setting| {
            format!("; {next} does not forward them: {}={}", setting.path.replace('/', "."), setting.value)
        });
    Some(StopExplanation {
        detail: Some(format!("{said}{}", ends.unwrap_or_default())),
        meaning: format!(
            "The kernel remembers for some minutes that a router called {next} the better way to {to}. Flushing the cache forgets it; \
             net.ipv4.conf.{}.accept_redirects=0 keeps it from being learned.",
            hop.interface.replace('.', "/")
        ),
        commands: vec![format!("ip {version} route flush cache"), format!("ip {version} route get {to}")],
        on: Some(Side::Local),
        tracking: None,
    })
}

/// Reports whether `side` is that gateway.
fn has(case: &StopCase<'_>, side: Side, hop: &NextHopFacts) -> bool {
    case.evidence.holders(side, hop.next).next().is_some()
}
