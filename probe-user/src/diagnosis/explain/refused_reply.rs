//! Replies that a router refuses: it says so to the far end, to which they are due back, and never to the sender.

use probe_ebpf::Echo;

use super::{StopCase, StopExplanation};
use crate::diagnosis::{document::StopHost, path::Side};

/// Explains replies about which an ICMP error came to the far end.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let evidence = case.evidence;
    let back = case.stop.leg == Echo::Reply && evidence.first_leg() == Echo::Request && evidence.two_sided();
    let said = case.stop.cause.icmp.as_ref().filter(|_| back && case.stop.host == StopHost::Network)?;
    let heard =
        evidence.heard().filter(|heard| heard.leg == Echo::Reply && case.gap.probes.contains(&heard.error.probe));
    let heard = heard.count();
    (heard > 0).then_some(())?;
    let (far, router, version) = (evidence.name(Side::Peer), said.from, case.ip_version());
    let back_to = evidence.local.host.address?;
    if said.is_too_big() {
        // The first one teaches the path MTU, and what follows is cut or shorter.
        let unlearned = heard > 1;
        let detail = unlearned.then(|| {
            format!("{far} was told that {heard} of them are too long, and goes on sending them as long: it does not learn the path MTU")
        });
        return Some(StopExplanation {
            detail,
            meaning: format!(
                "{router} tells {far} how long they may be. A rule there that drops this ICMP error, or a setting, keeps its \
                 kernel from learning it."
            ),
            commands: vec![
                "nft list ruleset | grep -n -i icmp".to_owned(),
                format!("ip {version} route get {back_to}"),
                format!("tracepath -n {back_to}"),
            ],
            on: Some(Side::Peer),
            tracking: None,
        });
    }
    Some(StopExplanation {
        detail: None,
        meaning: format!(
            "The requests arrived; {router}, on the way back, refuses the replies and tells {far} so: {}. The sender is never told.",
            said.meaning
        ),
        commands: vec![format!("traceroute -n {back_to}"), format!("ip {version} route get {back_to}")],
        on: Some(Side::Peer),
        tracking: None,
    })
}
