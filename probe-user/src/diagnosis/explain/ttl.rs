//! Why a TTL ran out: a rule of this host changed it, or it was too low from the start.

use probe_ebpf::{Echo, Hop};

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{alterations, path::Side, places::DropPoint, rewrites::Rewrite},
    model::trace::{IcmpError, PortTrace, plain_function},
};

/// A TTL of 30 is more than any path needs; below it the TTL itself may be the cause.
pub(super) const FEW: u8 = 30;

/// Explains a TTL that ran out if no loop is known.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let said = case.gap.icmp(case.evidence).is_some_and(IcmpError::tells_expiry);
    let freed = case.gap.events(case.evidence).iter().any(|event| {
        event.drop.reason == "IP_INHDR" && matches!(plain_function(&event.drop.function), "ip_forward" | "ip6_forward")
    });
    if !(said || freed) || case.stop.cause.reason.as_deref() == Some("TTL") {
        return None;
    }
    let leg = case.gap.leg;
    let changed = case.rewrites.iter().find(|change| change.field == "ttl" && change.leg == leg);
    if let Some(change) = changed {
        return Some(rewritten(change, case));
    }
    let side = case.origin()?;
    let probe = *case.gap.probes.first()?;
    let left = at(case, side, Hop::Xmit, leg, probe)?;
    // Where somebody else's router says so, the requests tell how many there are.
    let beyond = leg == Echo::Reply && case.stop.place == DropPoint::Network;
    let routers = routers_passed(case, side, probe).filter(|_| beyond);
    (left < FEW).then(|| too_few(case, side, left, &routers.map(passed).unwrap_or_default()))
}

/// Explains replies that are lost on the network after the far end, and left it with no more TTL than their requests
/// lost on their way: the router's error goes to the far end, where nobody reads it.
pub(super) fn of_replies(case: &StopCase<'_>) -> Option<StopExplanation> {
    let leg = case.gap.leg;
    (leg == Echo::Reply && case.stop.place == DropPoint::Network && case.stop.cause.icmp.is_none()).then_some(())?;
    let side = case.origin()?;
    let probe = *case.gap.probes.first()?;
    let left = at(case, side, Hop::Xmit, leg, probe)?;
    let routers = routers_passed(case, side, probe)?;
    let changed = case.rewrites.iter().any(|change| change.field == "ttl");
    (left <= routers && !changed).then(|| too_few(case, side, left, &passed(routers)))
}

/// Returns how many routers took one off the TTL of a request on its way to `side`.
fn routers_passed(case: &StopCase<'_>, side: Side, probe: u16) -> Option<u8> {
    let sent = at(case, Side::Local, Hop::Xmit, Echo::Request, probe)?;
    let came = at(case, side, Hop::NetifIn, Echo::Request, probe)?;
    sent.checked_sub(came).filter(|routers| (1..=FEW).contains(routers))
}

fn passed(routers: u8) -> String {
    let count = if routers == 1 { "1 router".to_owned() } else { format!("{routers} routers") };
    format!(": the requests passed {count}")
}

fn too_few(case: &StopCase<'_>, side: Side, left: u8, routers: &str) -> StopExplanation {
    let evidence = case.evidence;
    let who = evidence.name(side);
    let to =
        if case.gap.leg == evidence.first_leg() { Some(evidence.target.address) } else { evidence.local.host.address };
    let device = device_out(case, side).unwrap_or("all").replace('.', "/");
    let (settings, by) = if evidence.is_v6() {
        (
            format!("net.ipv6.conf.all.hop_limit net.ipv6.conf.{device}.hop_limit"),
            format!("net.ipv6.conf.{device}.hop_limit"),
        )
    } else {
        ("net.ipv4.ip_default_ttl".to_owned(), "net.ipv4.ip_default_ttl".to_owned())
    };
    let flag = if case.gap.leg == evidence.first_leg() { "-t, by " } else { "" };
    StopExplanation {
        detail: Some(format!("they left {who} with TTL {left}, which is too low for this path{routers}")),
        meaning: format!(
            "Each router takes one off the TTL, and at 0 it refuses the packet; {who} sends with TTL {left}: by {flag}{by}, or by \
             a route's hoplimit."
        ),
        commands: std::iter::once(format!("sysctl {settings}"))
            .chain(to.map(|to| format!("ip {} route get {to}", case.ip_version())))
            .collect(),
        on: Some(side),
        tracking: None,
    }
}

/// Returns the device by which packets of the stop's leg left `side`.
fn device_out<'a>(case: &StopCase<'a>, side: Side) -> Option<&'a str> {
    match case.evidence.place(side) {
        Some(place) => {
            let sends = |port: &&PortTrace| port.seen(Hop::Xmit, case.gap.leg).is_some_and(|seen| !seen.is_empty());
            place.ports.iter().find(sends).map(|port| port.interface.as_str())
        }
        None => Some(case.evidence.crossed(side, case.gap.leg, false)),
    }
}

/// Returns the TTL with which a probe passed a hop of `side`.
pub(super) fn at(case: &StopCase<'_>, side: Side, hop: Hop, leg: Echo, probe: u16) -> Option<u8> {
    let ttl = match case.evidence.place(side) {
        Some(place) => place.ports.iter().find_map(|port| port.seen(hop, leg)?.get(&probe).copied())?.ttl,
        None => alterations::step(case.evidence, leg, side, hop, probe)?.ttl,
    };
    (ttl > 0).then_some(ttl)
}

fn rewritten(change: &Rewrite, case: &StopCase<'_>) -> StopExplanation {
    let (from, to) = (change.from, change.to);
    let place = change.place(case.evidence);
    StopExplanation {
        detail: Some(format!("their TTL is changed {place}: {from} → {to}")),
        meaning: format!("A rule {place}, sets the TTL from {from} to {to}, so that the next router refuses them."),
        commands: vec![
            "nft list ruleset | grep -n 'ttl set\\|hoplimit set'".to_owned(),
            "iptables-save | grep TTL".to_owned(),
        ],
        on: Some(change.before.host),
        tracking: None,
    }
}
