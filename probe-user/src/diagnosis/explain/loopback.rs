//! Packets to, from or over the loopback that are for another host, or of no address there.

use std::net::{IpAddr, Ipv4Addr};

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{
        path::Side,
        places::DropPoint,
        rules::over_lo::{OVER_LO, SentOver, over_lo},
    },
    model::trace::{Finding, RoutePurpose},
};

/// Explains packets for another host that the socket's device or a route sends over `lo`.
pub(super) fn sent_over(case: &StopCase<'_>) -> Option<StopExplanation> {
    (case.stop.cause.reason.as_deref() == Some(OVER_LO)).then_some(())?;
    let over = over_lo(case.evidence)?;
    let (target, version) = (case.evidence.target.address, case.ip_version());
    let mut commands = vec![format!("ip {version} route get {target}")];
    if let SentOver::Route(way) = &over {
        commands.insert(0, format!("ip {version} rule"));
        commands.insert(1, format!("ip {version} route show table {}", way.table));
    }
    let meaning = format!(
        "What goes over lo never leaves this host, which does not have {target}: with IPv4 it comes back to it, IPv6 refuses it."
    );
    Some(StopExplanation { meaning, commands, ..StopExplanation::default() })
}

/// Explains the errno of a send call to this host's own address from a socket that is bound to another device: the route to own
/// addresses is by the device that has them or `lo`, and IPv6 looks for none but the bound device's (`rt6_device_match` in
/// `net/ipv6/route.c`).
pub(super) fn bound_elsewhere(case: &StopCase<'_>) -> Option<StopExplanation> {
    let socket = case.evidence.sending.socket.as_ref()?;
    let (at, bound) = (socket.target_at.as_deref()?, socket.devices.get(&socket.bound_to?)?);
    let errno = case.stop.cause.reason.as_deref()?;
    let refused = case.stop.place == DropPoint::Call && matches!(errno, "ENETUNREACH" | "EHOSTUNREACH" | "EINVAL");
    let target = case.evidence.target.address;
    (refused && at != bound).then(|| StopExplanation {
        detail: Some(format!("{target} is this host's own address, on {at}; the socket is bound to {bound}")),
        meaning: format!(
            "This host reaches its own addresses without leaving it; {bound} leads to no route to {target}."
        ),
        commands: vec![
            format!("ip {} route get {target}", case.ip_version()),
            format!("ip {} route get {target} oif {bound}", case.ip_version()),
        ],
        ..StopExplanation::default()
    })
}

/// Explains packets from 127/8 that are for another host: `EINVAL` of `__mkroute_output` (`net/ipv4/route.c`).
pub(super) fn of_source(case: &StopCase<'_>) -> Option<StopExplanation> {
    let host = &case.evidence.local.host;
    let loopback = |address: &Ipv4Addr| address.is_loopback() && !case.evidence.target.address.is_loopback();
    let from = match host.address? {
        IpAddr::V4(from) => Some(from).filter(loopback),
        IpAddr::V6(_) => None,
    }?;
    let refused = case.stop.place == DropPoint::Call && case.stop.cause.reason.as_deref() == Some("EINVAL");
    refused.then(|| StopExplanation {
        detail: Some(format!("{from} is an address of lo, from which nothing leaves this host")),
        meaning:
            "The kernel sends from 127.0.0.0/8 over lo alone, unless net.ipv4.conf.IFACE.route_localnet of the way out \
                  is 1; other hosts could not answer such packets."
                .to_owned(),
        commands: vec![format!("ip -4 route get {}", case.evidence.target.address)],
        ..StopExplanation::default()
    })
}

/// Explains a stop of packets to a loopback address that the sender does not have.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let evidence = case.evidence;
    let target = evidence.target.address;
    (target.is_loopback() && case.gap.leg == evidence.first_leg()).then_some(())?;
    let way = evidence.findings(Side::Local).find_map(|finding| match finding {
        Finding::Routing(choice)
            if choice.purpose == RoutePurpose::Way && choice.to == target && !choice.is_local() =>
        {
            Some(choice)
        }
        _ => None,
    })?;
    let who = evidence.whom(Side::Local);
    let leaves = match (&way.interface, way.ends.is_none()) {
        (Some(interface), true) if interface != "lo" => {
            format!(", and the route \"{}\" takes them out through {interface}", way.route)
        }
        _ => String::new(),
    };
    let off = evidence.findings(Side::Local).find_map(|finding| match finding {
        Finding::Setting { path, value } if path == "net/ipv6/conf/lo/disable_ipv6" && value.trim() == "1" => {
            Some(path)
        }
        _ => None,
    });
    let down = evidence
        .findings(Side::Local)
        .any(|finding| matches!(finding, Finding::Link { interface, up: false, .. } if interface == "lo"));
    let (why, meaning, mend) = match off {
        None if down => (
            ": lo is down".to_owned(),
            "A device that is down has no IPv6 address, and takes nothing for its IPv4 ones.".to_owned(),
            "ip link set dev lo up".to_owned(),
        ),
        Some(path) => {
            let dotted = path.replace('/', ".");
            (
                format!(": {dotted}=1"),
                format!("With {dotted}=1 lo has no IPv6 address."),
                format!("sysctl -w {dotted}=0"),
            )
        }
        None => {
            let whole = if target.is_ipv4() { "127.0.0.1/8" } else { "::1/128" };
            (
                String::new(),
                format!("Without {whole} on lo no address in that range is this host's own."),
                format!("ip addr add {whole} dev lo"),
            )
        }
    };
    Some(StopExplanation {
        detail: Some(format!("{who} does not have {target}{why}{leaves}")),
        meaning,
        commands: vec![mend, "ip addr show dev lo".to_owned(), format!("ip {} route get {target}", case.ip_version())],
        on: Some(Side::Local),
        tracking: None,
    })
}
