//! What a bridge does not pass on: from an isolated port to another one, and through a port that is not forwarding.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{
        bridge_port::{self, ISOLATED},
        flooded,
        path::Side,
        places::DropPoint,
    },
    model::{
        netfilter::TableFamily,
        trace::{BridgePortFacts, Finding},
    },
};

/// Explains a stop in a bridge by the port at which packets came in.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side().filter(|_| case.stop.place == DropPoint::Bridge)?;
    if case.stop.cause.netfilter.is_some() || chain_drops(case, side) {
        return None;
    }
    let past = flooded::past_the_receiver(case.evidence, side, case.stop.leg);
    if let Some((clause, meaning, commands)) = past {
        return Some(StopExplanation { detail: Some(clause), meaning, commands, ..StopExplanation::default() });
    }
    let events = case.gap.events(case.evidence);
    let at = events.iter().find_map(|event| event.drop.interface.as_deref()).unwrap_or_default();
    let ports = case.evidence.findings(side).filter_map(|finding| match finding {
        Finding::Device(facts) => {
            let held = |port: &&BridgePortFacts| port.state.is_some() || !port.isolated_from.is_empty();
            Some((facts, facts.port.as_ref().filter(held)?))
        }
        _ => None,
    });
    let (facts, port) = ports.max_by_key(|(facts, _)| facts.interface == at)?;
    let name = &facts.interface;
    let bridge = facts.master.as_deref().unwrap_or("its bridge");
    if let Some((clause, meaning, commands)) = bridge_port::blocked(facts, bridge) {
        return Some(StopExplanation { detail: Some(clause), meaning, commands, ..StopExplanation::default() });
    }
    let others = port.isolated_from.join(", ");
    Some(StopExplanation {
        detail: Some(format!("{name} is an isolated port of {bridge}, and so is {others}")),
        meaning: ISOLATED.to_owned(),
        commands: vec![format!("bridge -d link show dev {name}"), format!("bridge link set dev {name} isolated off")],
        ..StopExplanation::default()
    })
}

/// Reports whether a chain of the bridge family can have ended them as well.
fn chain_drops(case: &StopCase<'_>, side: Side) -> bool {
    let drops = |finding: &Finding| matches!(finding, Finding::Chain { family, can_drop: true, .. } if *family == TableFamily::Bridge);
    case.evidence.findings(side).any(drops)
}
