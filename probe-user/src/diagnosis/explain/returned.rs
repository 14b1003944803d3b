//! Packets that a router sends back to the host from which they came.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{path::Side, places::DropPoint},
    model::trace::{Finding, RoutePurpose},
};

/// Explains a stop after a watched router whose route has the sender as its gateway.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let evidence = case.evidence;
    let side = case.gap.last_seen.host;
    let behind = matches!(side, Side::Via(_)) && case.stop.place == DropPoint::Network;
    (behind && case.gap.leg == evidence.first_leg()).then_some(())?;
    let sender = evidence.local.host.address?;
    let choice = evidence.findings(side).find_map(|finding| match finding {
        Finding::Routing(choice)
            if choice.purpose == RoutePurpose::Way
                && choice.to == evidence.target.address
                && choice.gateway == Some(sender) =>
        {
            Some(choice)
        }
        _ => None,
    })?;
    let (router, who) = (evidence.whom(side), evidence.whom(Side::Local));
    Some(StopExplanation {
        detail: Some(format!(
            "the route \"{}\" of {router} sends them back to {who}, from which they came",
            choice.route
        )),
        meaning: format!(
            "{sender} is the sender itself: it accepts nothing for {}, and what it forwards comes back to the router.",
            choice.to
        ),
        commands: vec![choice.command(), format!("ip {} route show table {}", case.ip_version(), choice.table)],
        on: Some(side),
        tracking: None,
    })
}
