//! What it means that a router takes in packets for another host, and what ends it.

use super::{StopCase, StopExplanation};
use crate::diagnosis::rules::taken_in::{said, taken_in};

/// Explains such a stop.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let (side, choice) = taken_in(case.gap, case.evidence).filter(|(side, _)| case.spot.side() == Some(*side))?;
    let version = case.ip_version();
    let mut commands =
        vec![choice.command(), format!("ip {version} rule"), format!("ip {version} route show table {}", choice.table)];
    if choice.mark != 0 {
        commands.push("nft list ruleset | grep -n 'mark set'".to_owned());
    }
    Some(StopExplanation {
        detail: Some(said(choice, side, case.evidence)),
        meaning: format!(
            "A route of type local, as a transparent proxy (TPROXY) has it, is for TCP and UDP. Its kernel cannot answer an \
             echo from {}, which it does not have: what sets the mark must leave ICMP alone.",
            case.evidence.target.address
        ),
        commands,
        ..StopExplanation::default()
    })
}
