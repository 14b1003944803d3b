//! Targets that no single host has: multicast and broadcast.

use std::net::IpAddr;

use super::{StopCase, StopExplanation};
use crate::diagnosis::document::StopHost;

/// Explains a multicast or broadcast address that nobody answered for.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let target = case.evidence.target.address;
    let open = matches!(case.stop.host, StopHost::Beyond | StopHost::Network) && case.stop.cause.icmp.is_none();
    let kind = kind(target).filter(|_| open)?;
    let setting =
        if target.is_ipv4() { "net.ipv4.icmp_echo_ignore_broadcasts" } else { "net.ipv6.icmp.echo_ignore_multicast" };
    let default = if target.is_ipv4() {
        "Linux hosts do not answer such pings unless that is 0, and it is 1 by default"
    } else {
        "Linux hosts answer such pings unless that is 1"
    };
    Some(StopExplanation {
        detail: Some(format!("{target} is a {kind} address, and no host answers to it")),
        meaning: format!(
            "Every host on the link (that has joined the group) may answer: {setting} of each decides. {default}. It \
             does not cross a router unless that is configured for it."
        ),
        commands: vec![format!("sysctl {setting}"), "ip maddr show".to_owned()],
        ..StopExplanation::default()
    })
}

/// Returns the word for an address that is no single host's.
pub(in crate::diagnosis) fn kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) if v4.is_multicast() => Some("multicast"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("broadcast"),
        IpAddr::V6(v6) if v6.is_multicast() => Some("multicast"),
        _ => None,
    }
}
