//! From where packets stop to what made them stop there: the setting, rule, route or policy that decides, and what
//! mends it.
//!
//! A drop's place and the kernel's reason only say how packets ended. Each explanation here reads what was looked up
//! with the packet's own key, and says nothing if that does not show the cause.

pub(super) mod beside_tunnel;
mod bridge;
mod device_down;
mod device_redirect;
mod foreign_frame;
mod foreign_source;
mod forwardable;
mod forwarding;
mod group_frame;
mod icmp_redirect;
mod in_the_name;
mod ipsec;
mod link;
mod loopback;
mod macvlan;
mod pace;
mod permanent;
mod refused_reply;
mod returned;
mod reverse_path;
mod rewritten;
mod routing;
mod scope;
mod sent_past;
mod size;
pub(super) mod special;
mod taken_in;
mod tracking;
mod ttl;
mod tun;
pub(super) mod tun_program;
mod tunnel;
pub(super) mod tunnel_unused;
mod unheard_error;
mod unit;
mod varied;
mod vlan;

use super::{Evidence, advice, document::Stop, ledger::Gap, path::Side, places::DropLocation, rewrites::Rewrite};
use crate::model::trace::Finding;

/// What made packets stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StopExplanation {
    /// The cause as a clause, for the sentence.
    pub(super) detail: Option<String>,
    /// What it means, as a sentence.
    pub(super) meaning: String,
    /// What to type there.
    pub(super) commands: Vec<String>,
    /// What connection tracking has to do with it, as a clause, if it is what decides.
    pub(super) tracking: Option<String>,
    /// Where, if it is not where they stop.
    pub(super) on: Option<Side>,
}

/// A stop with all that is known of it.
pub(super) struct StopCase<'a> {
    pub(super) stop: &'a Stop,
    pub(super) gap: &'a Gap,
    pub(super) spot: DropLocation,
    pub(super) evidence: &'a Evidence,
    /// What was rewritten on the way, anywhere.
    pub(super) rewrites: &'a [Rewrite],
}

type Explain = fn(&StopCase<'_>) -> Option<StopExplanation>;

/// In the order in which they are tried; the first that has something to say is taken.
const EXPLAIN: &[Explain] = &[
    device_redirect::explain,
    tun_program::explain,
    tunnel::explain,
    tunnel_unused::to_itself,
    tunnel_unused::down,
    beside_tunnel::explain,
    loopback::bound_elsewhere,
    loopback::explain,
    loopback::sent_over,
    loopback::of_source,
    tun::explain,
    unit::explain,
    returned::explain,
    icmp_redirect::explain,
    unheard_error::explain,
    in_the_name::explain,
    pace::explain,
    tracking::explain,
    link::explain,
    rewritten::explain,
    rewritten::to_loopback,
    ipsec::explain,
    vlan::explain,
    forwardable::explain,
    bridge::explain,
    reverse_path::explain,
    ttl::explain,
    ttl::of_replies,
    refused_reply::explain,
    group_frame::explain,
    macvlan::explain,
    sent_past::explain,
    foreign_frame::explain,
    scope::explain,
    special::no_source,
    size::explain,
    special::explain,
    taken_in::explain,
    routing::not_own,
    forwarding::explain,
    routing::rerouted,
    foreign_source::explain,
    routing::explain,
    routing::without_source,
    permanent::explain,
    varied::explain,
];

/// Completes `stop`, which lies at `spot`; returns whether anything was found.
pub(super) fn complete(
    stop: &mut Stop,
    gap: &Gap,
    spot: DropLocation,
    evidence: &Evidence,
    rewrites: &[Rewrite],
) -> bool {
    let case = StopCase { stop, gap, spot, evidence, rewrites };
    let Some(found) = EXPLAIN.iter().find_map(|explain| explain(&case)) else { return false };
    if found.detail.is_some() {
        stop.cause.detail = found.detail;
    }
    stop.cause.tracking = found.tracking;
    stop.meaning = found.meaning;
    if !found.commands.is_empty() {
        advice::replace(stop, &found.commands, found.on, evidence);
    }
    true
}

impl StopCase<'_> {
    /// Returns how long packets of a tunnel are, as the end of a sentence: `: 1328 bytes inside are 1378 with …`; empty for others.
    fn carried_length(&self) -> String {
        let length = self.evidence.layer.as_ref().and_then(super::tunnel_layer::TunnelLayer::length);
        length.map(|length| format!(": {length}")).unwrap_or_default()
    }

    /// Returns `-4` or `-6`, as `ip` takes it.
    fn ip_version(&self) -> &'static str {
        if self.evidence.is_v6() { "-6" } else { "-4" }
    }

    /// Returns where the packets of the stop's leg are made; `None` where that was not watched.
    fn origin(&self) -> Option<Side> {
        let evidence = self.evidence;
        if self.gap.leg == evidence.first_leg() {
            return Some(Side::Local);
        }
        let has =
            |side: &Side| evidence.findings(*side).any(|finding| matches!(finding, Finding::Address { own: true, .. }));
        if evidence.two_sided() {
            Some(Side::Peer)
        } else {
            // A router may have the target's address, and pass on what is sent to it to another host.
            evidence.sides().filter(|side| matches!(side, Side::Via(_)) && has(side)).last()
        }
    }
}
