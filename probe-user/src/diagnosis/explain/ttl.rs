//! Why a TTL ran out: a rule of this very host changed it, or it left with too few.

use probe_ebpf::{Echo, Hop};

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{alterations, path::Side, rewrites::Rewrite},
    model::trace::{IcmpError, plain_function},
};

/// The TTL of 30 hops is more than any path has; below it the TTL itself may be the cause.
const FEW: u8 = 30;

/// Explains a TTL that ran out where no loop is known.
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
    let side = if leg == Echo::Request { Side::Local } else { Side::Peer };
    let probe = *case.gap.probes.first()?;
    let left = alterations::step(case.evidence, leg, side, Hop::Xmit, probe)?.ttl;
    (left < FEW).then(|| {
        let who = case.evidence.name(side);
        StopExplanation {
            detail: Some(format!("they left {who} with TTL {left}, which is too few for this way")),
            meaning: format!(
                "Each router takes one off the TTL, and at 0 it refuses the packet. {who} sends with TTL {left}: by -t, by \
                 net.ipv4.ip_default_ttl or hop_limit, or by a route's hoplimit."
            ),
            commands: vec![
                "sysctl net.ipv4.ip_default_ttl net.ipv6.conf.all.hop_limit".to_owned(),
                format!("ip {} route get {}", case.ip_version(), case.evidence.target.address),
            ],
            on: Some(side),
            tracking: None,
        }
    })
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
