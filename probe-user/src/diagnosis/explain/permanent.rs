//! A neighbour entry that was written by hand: the kernel never asks whether it is still right.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{document::StopHost, path::Side},
    model::trace::Finding,
};

/// Explains packets that are lost right behind an end whose entry for the next hop is permanent, where nothing was asked that would
/// confirm it: an IPv6 neighbour is not asked once more.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let evidence = case.evidence;
    let open = matches!(case.stop.host, StopHost::Network | StopHost::Beyond) && case.stop.cause.icmp.is_none();
    let side = case.gap.last_seen.host;
    (open && evidence.is_v6() && matches!(side, Side::Local | Side::Peer)).then_some(())?;
    let (address, interface, lladdr) = evidence.findings(side).find_map(|finding| match finding {
        Finding::Neighbour { address, interface, state, lladdr: Some(lladdr) } if state == "PERMANENT" => {
            Some((address, interface, lladdr))
        }
        _ => None,
    })?;
    let who = evidence.whom(side);
    Some(StopExplanation {
        detail: Some(format!(
            "{who} sends them to {lladdr}, as its entry for {address} on {interface} says, which is PERMANENT"
        )),
        meaning: "An entry that is PERMANENT was written by hand, and is never asked for again: if the neighbour has another \
                  link-layer address by now, nobody takes these frames."
            .to_owned(),
        commands: vec![
            format!("ip -6 neigh show {address} dev {interface}"),
            format!("ip -6 neigh del {address} dev {interface}"),
        ],
        on: Some(side),
        tracking: None,
    })
}
