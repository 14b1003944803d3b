//! Frames with a VLAN tag for which the host has no device.

use super::{StopCase, StopExplanation};
use crate::diagnosis::places::DropPoint;

/// Explains a tag that was taken off the frame and for which there is no device: the kernel takes such a packet for
/// another host's (`__netif_receive_skb_core` in `net/core/dev.c`).
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let events = case.gap.events(case.evidence);
    let drop = events.iter().find(|event| event.drop.reason == "OTHERHOST")?.drop;
    let side = case.spot.side().filter(|_| case.stop.place == DropPoint::IpHeader)?;
    let tag = case.evidence.tag(side, drop.probe?, drop.leg)?;
    let device = drop.interface.as_deref().unwrap_or("the device");
    Some(StopExplanation {
        detail: Some(format!("the frames arrive with VLAN tag {tag}, and {device} has no VLAN device for it")),
        meaning: format!(
            "The switch port in front sends VLAN {tag} with its tag. Make it send untagged, or give {device} a VLAN device \
             and move the address to it."
        ),
        commands: vec![
            "ip -d link show type vlan".to_owned(),
            format!("tcpdump -eni {device} -c 4 vlan {tag}"),
            format!("ip link add link {device} name {device}.{tag} type vlan id {tag}"),
        ],
        ..StopExplanation::default()
    })
}
