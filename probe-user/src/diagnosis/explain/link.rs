//! A device that is down or has no carrier: the named one, which need not be the first of its place.

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{document::Layer, path::Side},
    model::trace::{Finding, LinkFacts, TunnelFacts},
};

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
    let is_tun = |device: &LinkFacts| device.interface == *interface && device.kind.as_deref() == Some("tun");
    if up && case.evidence.devices(side).any(is_tun) {
        let by_rule = case.evidence.findings(side).find_map(|finding| match finding {
            Finding::Routing(choice)
                if choice.interface.as_ref() == Some(interface) && !matches!(choice.table.as_str(), "" | "main") =>
            {
                Some(choice)
            }
            _ => None,
        });
        let led = by_rule.map(|choice| format!("; {}", choice.text())).unwrap_or_default();
        let left = by_rule.map(|_| " Rules that it left behind still lead there.").unwrap_or_default();
        let rules = by_rule.map(|choice| [choice.command(), format!("ip {} rule", case.ip_version())]);
        let holders = "grep -l '^iff:' /proc/[0-9]*/fdinfo/*".to_owned();
        return Some(StopExplanation {
            detail: Some(format!("{interface} has no carrier: no program has this tun device open{led}")),
            meaning: format!(
                "What the kernel sends through {interface} is for the program that holds it, and none does: it ended, \
                 or was not started.{left}"
            ),
            commands: [look, holders].into_iter().chain(rules.into_iter().flatten()).collect(),
            ..StopExplanation::default()
        });
    }
    if let Some(found) = below(case, side, interface).or_else(|| bridge(case, side, interface)).filter(|_| up) {
        return Some(found);
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

/// Recognizes a device that has no carrier as the one on which it is made has none.
fn below(case: &StopCase<'_>, side: Side, interface: &str) -> Option<StopExplanation> {
    let devices = || case.evidence.devices(side);
    let made = |device: &&LinkFacts| matches!(device.kind.as_deref(), Some("macvlan" | "ipvlan" | "vlan"));
    let upper = devices().filter(made).find(|device| device.interface == interface)?;
    let here = upper.lower.filter(|_| upper.lower_netns.is_none())?;
    let lower = devices().find(|device| device.ifindex == here && (device.down || device.no_carrier))?;
    let name = &lower.interface;
    let (state, first) = if lower.down {
        ("is down", format!("ip link set dev {name} up"))
    } else {
        ("has no carrier either", format!("ip -s -s link show dev {name}"))
    };
    let kind = upper.kind.as_deref().unwrap_or_default();
    Some(StopExplanation {
        detail: Some(format!("{interface} has no carrier: {name}, on which this {kind} device is made, {state}")),
        meaning: format!(
            "A {kind} device sends and takes by the device on which it is made: without that nothing leaves or comes in."
        ),
        commands: vec![first, format!("ip -d link show dev {interface}")],
        ..StopExplanation::default()
    })
}

/// Explains a bridge without a carrier: it has one as long as one of its ports has.
fn bridge(case: &StopCase<'_>, side: Side, interface: &str) -> Option<StopExplanation> {
    let evidence = case.evidence;
    let is_bridge = |device: &LinkFacts| device.interface == interface && device.kind.as_deref() == Some("bridge");
    evidence.devices(side).any(is_bridge).then_some(())?;
    let show = format!("ip link show master {interface}");
    // What is a port at the other end of the tunnel, and of no bridge here.
    let tunnels = evidence.seen_around(side).map(|place| place.tunnels.as_slice()).unwrap_or_default();
    let elsewhere = || evidence.sides().filter(|other| *other != side).filter_map(|other| evidence.seen_around(other));
    let is_port = |tunnel: &&TunnelFacts| {
        let far = |other: &TunnelFacts| other.kind == tunnel.kind && other.vni == tunnel.vni && other.master.is_some();
        elsewhere().any(|place| place.tunnels.iter().any(far))
    };
    let loose = tunnels.iter().filter(|tunnel| tunnel.master.is_none()).find(is_port);
    let (detail, commands) = match loose {
        Some(TunnelFacts { interface: tunnel, .. }) => (
            format!(
                "{interface} has no carrier: none of its ports has one, and {tunnel}, which is the port of a bridge at the other end of the \
                 tunnel, is that of none here"
            ),
            vec![format!("ip link set dev {tunnel} master {interface}"), show],
        ),
        None => (format!("{interface} has no carrier: none of its ports has one"), vec![show]),
    };
    Some(StopExplanation {
        detail: Some(detail),
        meaning: format!("{interface} is a bridge: it has a carrier as long as one of its ports is up and has one."),
        commands,
        ..StopExplanation::default()
    })
}
