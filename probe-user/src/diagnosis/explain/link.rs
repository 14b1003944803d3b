//! A device that is down or has no carrier: the named one, which need not be the first of its place.

use super::{StopCase, StopExplanation};
use crate::{diagnosis::document::Layer, model::trace::Finding};

/// Gives commands for that device.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side().filter(|_| case.stop.layer == Layer::Driver)?;
    let said = case.stop.cause.detail.as_deref()?;
    let (interface, up) = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Link { interface, up, carrier: false } if said.starts_with(&format!("{interface} ")) => {
            Some((interface, *up))
        }
        _ => None,
    })?;
    let look = format!("ip -s -s link show dev {interface}");
    let is_tun = |finding: &Finding| match finding {
        Finding::Device(device) => device.interface == *interface && device.kind.as_deref() == Some("tun"),
        _ => false,
    };
    if up && case.evidence.findings(side).any(is_tun) {
        return Some(StopExplanation {
            detail: Some(format!("{interface} has no carrier: no program has this tun device open")),
            meaning: format!(
                "What the kernel sends through {interface} is for the program that holds it, and none does: it ended, \
                 or was not started."
            ),
            commands: vec![look, "grep -l '^iff:' /proc/[0-9]*/fdinfo/*".to_owned()],
            ..StopExplanation::default()
        });
    }
    let (meaning, commands) = if up {
        (
            format!(
                "{interface} is up, but the other end of its cable is off or unplugged: nothing leaves or arrives \
                 through it."
            ),
            vec![look, format!("ethtool {interface}")],
        )
    } else {
        (
            format!("{interface} is set down: nothing leaves or arrives through it."),
            vec![format!("ip link set dev {interface} up"), look],
        )
    };
    Some(StopExplanation { meaning, commands, ..StopExplanation::default() })
}
