//! Addresses that are no single host's: targets that are multicast or broadcast, and no source at all.

use std::net::IpAddr;

use super::{StopCase, StopExplanation};
use crate::diagnosis::{document::StopHost, path::Side, places::DropPoint};

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

/// Explains requests from 0.0.0.0, which a host sends that has no address of this version, and from a loopback address: whoever
/// gets them from another host takes them for martians (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3).
pub(super) fn no_source(case: &StopCase<'_>) -> Option<StopExplanation> {
    let input = matches!(case.stop.place, DropPoint::RouteIn | DropPoint::IpHeader);
    let events = case.gap.events(case.evidence);
    let (first, rest) = events.split_first().filter(|_| input && case.gap.leg == case.evidence.first_leg())?;
    let from = first.drop.source;
    (rest.iter().all(|event| event.drop.source == from)).then_some(())?;
    let sender = case.evidence.name(Side::Local);
    let (detail, meaning, command) = if from.is_unspecified() {
        (
            format!("they come from {from}: {sender} has no address to send them from"),
            format!("Without an address on a device that is up, {sender} sends from {from}, which is nobody's."),
            format!("ip {} addr show", case.ip_version()),
        )
    } else if from.is_loopback() {
        (
            format!("they come from {from}, a loopback address, which no host takes from another one"),
            format!("Every host has {from} for itself, so that an answer would not come back to {sender}."),
            format!("ip {} route get {}", case.ip_version(), case.evidence.target.address),
        )
    } else {
        return None;
    };
    Some(StopExplanation {
        detail: Some(detail),
        meaning,
        commands: vec![command],
        on: Some(Side::Local),
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
