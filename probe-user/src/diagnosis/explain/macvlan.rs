//! Frames for a device made on top of the one at which they came in, which does not take them.

use super::{StopCase, StopExplanation};
use crate::{diagnosis::places::DropPoint, model::trace::LinkFacts};

/// Explains frames with the link-layer address of a macvlan device that are not given to it: it is down, or takes only frames of
/// senders on its list.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side().filter(|_| case.stop.place == DropPoint::IpHeader)?;
    let events = case.gap.events(case.evidence);
    let drop = events.iter().map(|event| event.drop).find(|drop| drop.reason == "OTHERHOST")?;
    let to = drop.frame.destination.as_deref()?;
    let at = drop.interface.as_deref()?;
    let is_for = |device: &&LinkFacts| device.lladdr.as_deref() == Some(to) && device.interface != at;
    let child = case.evidence.devices(side).find(is_for)?;
    (child.kind.as_deref() == Some("macvlan")).then_some(())?;
    let name = &child.interface;
    let allowed = child.only_from.as_ref();
    let (detail, meaning, commands) = match allowed {
        Some(senders) => {
            let list = if senders.is_empty() {
                "which is empty".to_owned()
            } else {
                format!("which has {}", senders.join(", "))
            };
            (
                format!(
                    "the frames are for {name}, a macvlan device in mode source: it takes only those of senders on its list, {list}"
                ),
                format!("Add the sender's link-layer address to the list of {name}, or give it another mode."),
                vec![
                    format!("ip -d link show dev {name}"),
                    format!("ip link set link dev {name} type macvlan macaddr add ADDRESS"),
                ],
            )
        }
        None if child.down => (
            format!("the frames are for {name}, a macvlan device that is down"),
            "A device that is set down receives nothing.".to_owned(),
            vec![format!("ip link set dev {name} up"), format!("ip -d link show dev {name}")],
        ),
        None => return None,
    };
    Some(StopExplanation { detail: Some(detail), meaning, commands, ..StopExplanation::default() })
}
