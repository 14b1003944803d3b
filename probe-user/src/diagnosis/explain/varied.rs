//! What it means that packets pass that differ in one field only.

use super::{StopCase, StopExplanation};
use crate::diagnosis::{
    control::{self, VariedField},
    document::{Confidence, StopHost},
};

/// Reports that packets with one field changed pass, if nothing else says more.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    let open = matches!(case.stop.host, StopHost::Network | StopHost::Beyond)
        || case.stop.confidence == Confidence::Unknown
        || case.stop.candidates.len() > 1;
    let (field, change) = control::smallest(&case.evidence.controls).filter(|_| open)?;
    let said = format!("{change} they are answered");
    let detail = case.stop.cause.detail.as_ref().map_or_else(|| said.clone(), |known| format!("{known}; {said}"));
    Some(StopExplanation { detail: Some(detail), meaning: meaning(field).to_owned(), ..StopExplanation::default() })
}

fn meaning(field: VariedField) -> &'static str {
    match field {
        VariedField::Id => {
            "Something on the way knows this id: an entry of a NAT or firewall that is older than its rules, a rule \
             for it, or another ping with the same id. An entry ends once nothing is sent with this id for a while (30 \
             s on Linux), and another id (-e) passes."
        }
        VariedField::Seq => {
            "Something on the way looks at sequence numbers: a filter, or a state to which they seem old."
        }
        VariedField::Payload => {
            "Something on the way looks into the payload: a content filter, or a link that damages it."
        }
        VariedField::Size => {
            "Only shorter packets pass: a link with a small MTU whose ICMP error is filtered, lost fragments, or a \
             limit on bytes."
        }
        VariedField::Df => {
            "Packets that may be fragmented pass: a link on the way does not take longer ones, and the ICMP error that \
             should say so does not come back."
        }
        VariedField::Dscp => "Something on the way chooses by the DSCP value: a policer, a queue, a route or a rule.",
        VariedField::Ttl => "They are dropped for their TTL: too few hops are left, or a rule wants another value.",
        VariedField::Code => "Something on the way looks at the ICMP code.",
        VariedField::Mark => {
            "A rule or a route of this host chooses by the firewall mark: see `ip rule` and the chains with `meta mark`."
        }
        VariedField::Source => {
            "The source address decides: its way back, a policy route, or a rule for it. The far end's route to it, and the rules \
             on the way, are the next to look at."
        }
        VariedField::Interface => {
            "The way out decides: through that interface they pass, so routing or the other interface's link is at \
             fault."
        }
        VariedField::Socket => {
            "The same packet passes by another kind of socket: what differs is on this host, in the way from the socket to the \
             device (a cgroup program, a rule that looks at the socket or its user, routing, netfilter)."
        }
        VariedField::Sender => {
            "Who sends decides: its cgroup (the programs there, `socket cgroupv2`), its user (`meta skuid`, `ip rule uidrange`) or its \
             security label, and nothing that all programs of this host meet."
        }
        VariedField::Pace => {
            "Slower packets pass: something on the way lets only so many through in a given time, or has no room for \
             more at once."
        }
        VariedField::Direction => {
            "Requests of the far end and the answers to them pass, so the links carry packets both ways: what stops \
             these looks at who begins, like a firewall that lets only answers in, or it is where these two ways \
             differ."
        }
    }
}
