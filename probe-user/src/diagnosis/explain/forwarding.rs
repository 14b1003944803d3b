//! A router that does not forward: which setting decides, and what turns it on.

use super::{StopCase, StopExplanation};
use crate::diagnosis::sysctl;
use crate::{diagnosis::places::DropPoint, model::trace::Finding};

/// The setting by which IPv6 forwards at all, whatever a device's own one says (`ip6_forward`).
const ALL_V6: &str = "net/ipv6/conf/all/forwarding";

/// Explains a stop in routing whose cause is a setting of forwarding.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side().filter(|_| case.stop.place == DropPoint::RouteIn)?;
    let path = case.stop.cause.setting.as_ref().map(|said| said.path.as_str())?;
    let of_forwarding = path == "net/ipv4/ip_forward" || path.ends_with("/forwarding");
    of_forwarding.then_some(())?;
    let name = sysctl::name(path);
    let own_on = || {
        case.evidence.findings(side).any(|finding| match finding {
            Finding::Setting { path: other, value } => {
                other.starts_with("net/ipv6/conf/")
                    && other.ends_with("/forwarding")
                    && other != ALL_V6
                    && value.trim() == "1"
            }
            _ => false,
        })
    };
    let meaning = if path == ALL_V6 && own_on() {
        "In IPv6 a device's own forwarding=1 makes it a router's device, and forwards nothing: only that of all does."
    } else if path == ALL_V6 || path == "net/ipv4/ip_forward" {
        "They are for another host, and this one does not forward."
    } else {
        "They are for another host, and what comes in by this device is not forwarded: in IPv4 each device has a setting of \
         its own."
    };
    Some(StopExplanation {
        meaning: meaning.to_owned(),
        commands: vec![format!("sysctl -w {name}=1"), format!("sysctl {name}")],
        ..StopExplanation::default()
    })
}
