//! What `IPsec` refuses, by the kernel's counters of it (`/proc/net/xfrm_stat`).

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{document::Layer, places::DropPoint},
    model::trace::{Finding, IpsecPolicy},
};

/// What a counter of `include/uapi/linux/snmp.h` (`LINUX_MIB_XFRM*`) counts, as a clause; the first that fits by its end.
const COUNTERS: &[(&str, &str)] = &[
    ("OutNoStates", "an IPsec policy requires encryption, and there is no state (SA) for it"),
    ("OutPolBlock", "an IPsec policy with action block forbids them"),
    ("OutPolDead", "the IPsec policy has expired"),
    ("OutPolError", "the IPsec policy cannot be applied"),
    ("OutStateExpired", "the IPsec state (SA) has expired"),
    ("OutStateInvalid", "the IPsec state (SA) is not usable (not yet negotiated, or being replaced)"),
    ("OutStateSeqError", "the sequence numbers of the IPsec state (SA) have run out"),
    ("OutBundleGenError", "the route of the IPsec tunnel cannot be made"),
    ("OutBundleCheckError", "the route of the IPsec tunnel is no longer valid"),
    ("OutNoQueueSpace", "the queue for packets that wait for an IPsec state (SA) is full"),
    ("Out", "IPsec refuses them on their way out"),
    ("AcquireError", "no IPsec key exchange daemon answers the kernel's request for a state (SA)"),
    ("InNoPols", "they come in through IPsec, and no policy allows that"),
    ("InPolBlock", "an IPsec policy with action block forbids them"),
    ("InPolError", "the IPsec policy cannot be applied"),
    (
        "InTmplMismatch",
        "an IPsec policy requires encryption, and they arrive otherwise (plain, or through another \
         state)",
    ),
    ("InNoStates", "no IPsec state (SA) here has the SPI of what comes in"),
    ("InStateProtoError", "they cannot be decrypted: the keys of both ends differ"),
    ("InStateModeError", "the IPsec mode (tunnel or transport) of both ends differs"),
    ("InStateSeqError", "the replay window of the IPsec state (SA) refuses them"),
    ("InStateExpired", "the IPsec state (SA) has expired"),
    ("InStateMismatch", "the selector of the IPsec state (SA) does not cover them"),
    ("InStateInvalid", "the IPsec state (SA) is not usable"),
    ("Fwd", "an IPsec policy for forwarded packets refuses them"),
    ("In", "IPsec refuses them on their way in"),
];

/// Explains a stop at a place where `IPsec` decides, if one of its counters rose on that host.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    let by_policy = case.stop.cause.reason.as_deref().is_some_and(|reason| reason.contains("XFRM"));
    let there = matches!(case.stop.layer, Layer::Route | Layer::Ip | Layer::Icmp) || by_policy;
    let risen = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Counter { name, by } => Some((name.strip_prefix("Xfrm.")?, *by)),
        _ => None,
    });
    let (counter, by) = risen.filter(|(_, by)| there && *by >= case.stop.packets as u64)?;
    let outwards = counter.starts_with("Out") || counter.starts_with("Acquire");
    if outwards != (case.stop.place < DropPoint::Network || case.stop.place == DropPoint::RouteBack) {
        return None;
    }
    let what = COUNTERS.iter().find(|(begin, _)| counter.starts_with(begin)).map(|(_, what)| *what)?;
    let policy = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::IpsecPolicy(policy) if policy.outwards == outwards => Some(policy),
        _ => None,
    });
    let blocked = counter.ends_with("PolBlock");
    let detail = match policy {
        // The sentence already says that a policy forbids it.
        None => (!blocked).then(|| format!("Xfrm{counter} rose by {by}: {what}")),
        Some(policy) if blocked => Some(format!("the policy \"{}\" blocks them", policy.selector)),
        Some(policy) if policy.wants.is_empty() => Some(format!("Xfrm{counter} rose by {by}: {what}")),
        Some(policy) => {
            let IpsecPolicy { selector, wants, .. } = policy;
            Some(format!("Xfrm{counter} rose by {by}: {what}; the policy \"{selector}\" wants {wants}"))
        }
    };
    let look = match policy {
        Some(policy) => format!("ip xfrm policy get {}", policy.selector),
        None => "ip xfrm policy".to_owned(),
    };
    let mend = if counter.ends_with("NoStates") && outwards {
        " The daemon that exchanges keys is down or was refused, or a state that was made by hand is missing."
    } else {
        ""
    };
    Some(StopExplanation {
        detail,
        meaning: format!("{}{}.{mend}", what[..1].to_uppercase(), &what[1..]),
        commands: [look.as_str(), "ip xfrm state", "cat /proc/net/xfrm_stat"].map(str::to_owned).into(),
        ..StopExplanation::default()
    })
}
