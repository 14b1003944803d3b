//! Which hops the probes of a run should pass, in the order in which the kernel runs them, and what lies between two.
//!
//! The order is that of Linux 6.x: `ip_local_out` (output), `ip_output` (postrouting, then cgroup egress in
//! `ip_finish_output`, then fragments and the neighbour), `__dev_queue_xmit` (netfilter egress, tc egress, then the
//! tracepoint `net_dev_queue`, then the qdisc), `dev_hard_start_xmit`; inwards native XDP in the driver,
//! `__netif_receive_skb_core` (its tracepoint, generic XDP, tc ingress, netfilter ingress), `ip_rcv` (header checks,
//! prerouting), routing with `rp_filter`, `ip_local_deliver` (reassembly, input), raw sockets, `icmp_rcv`.

use probe_ebpf::Echo;
use probe_ebpf::Hop;

pub use super::station::{ANY_PORT, Checkpoint, PathStep, Requirement, Side, Station};
use super::{Evidence, ProbeMode, Responder, between, followed, station::step};
use crate::model::{
    attach::XdpAttachment,
    trace::{HopTrace, HostTrace},
};

use Requirement::{May, Must};

/// The way out of a host. The cgroup of a socket may be outside of the tree that is watched: May.
const OUT: [(Hop, Requirement); 8] = [
    (Hop::NfOutputFirst, Must),
    (Hop::NfOutputLast, Must),
    (Hop::NfPostroutingFirst, Must),
    (Hop::NfPostroutingLast, Must),
    (Hop::CgroupOut, May),
    (Hop::TcOut, Must),
    (Hop::DevQueue, Must),
    (Hop::Xmit, Must),
];

/// The way into a host's IP layer, up to the end of the input hook; native XDP comes first.
const IN: [(Hop, Requirement); 7] = [
    (Hop::XdpIn, Must),
    (Hop::NetifIn, Must),
    (Hop::TcIn, Must),
    (Hop::NfPreroutingFirst, Must),
    (Hop::NfPreroutingLast, Must),
    (Hop::NfInputFirst, Must),
    (Hop::NfInputLast, Must),
];

/// Returns the whole way of a probe of this run and of its reply, in the order of time.
pub fn journey(evidence: &Evidence) -> Vec<PathStep> {
    if let Some(steps) = followed::way::journey(evidence) {
        return steps;
    }
    if let Some(layer) = &evidence.layer {
        return layer.journey(evidence);
    }
    let first = evidence.first_leg();
    let mut steps = vec![step(first, Side::Local, Station::Send, Must)];
    steps.extend(out(first, Side::Local));
    steps.extend(between::steps(evidence, first));
    let far = match (&evidence.peer, evidence.loops_back()) {
        // What nobody saw there is not part of the way.
        (Some(_), _) if evidence.passes_by_the_peer() => None,
        (Some(_), _) => Some(Side::Peer),
        (None, true) => Some(Side::Local),
        (None, false) => None,
    };
    if let Some(far) = far {
        steps.extend(arrival(evidence, first, far));
        if evidence.mode == ProbeMode::Request && evidence.responder != Responder::Xdp {
            steps.extend(out(Echo::Reply, far));
        }
    }
    if evidence.mode == ProbeMode::Request {
        steps.extend(between::steps(evidence, Echo::Reply));
    }
    if evidence.mode == ProbeMode::Request {
        steps.extend(inwards(evidence, Echo::Reply, Side::Local));
        steps.push(step(Echo::Reply, Side::Local, Station::Hop(Hop::IcmpIn), May));
        steps.push(step(Echo::Reply, Side::Local, Station::Hop(Hop::SocketIn), May));
        steps.push(step(Echo::Reply, Side::Local, Station::Recv, Must));
    }
    steps
}

fn out(leg: Echo, side: Side) -> impl Iterator<Item = PathStep> {
    OUT.into_iter().map(move |(hop, duty)| step(leg, side, Station::Hop(hop), duty))
}

fn inwards(evidence: &Evidence, leg: Echo, side: Side) -> impl Iterator<Item = PathStep> {
    let mut hops = IN;
    let host = evidence.host(side);
    if host.host.xdp_mode == XdpAttachment::Generic {
        hops.swap(0, 1);
    }
    if prerouting_comes_first(host, leg) {
        hops[..5].rotate_left(3);
    }
    hops.into_iter().map(move |(hop, duty)| step(leg, side, Station::Hop(hop), duty))
}

/// Reports whether packets pass prerouting before they enter by the watched device: those of a bridge do, at its
/// port, where the kernel has `br_netfilter` (`br_nf_pre_routing` in `net/bridge/br_netfilter_hooks.c`). Seen by the
/// hops themselves.
fn prerouting_comes_first(host: &HostTrace, leg: Echo) -> bool {
    let seen = |hop| match (host.hop(hop), leg) {
        (HopTrace::Watched { requests, .. }, Echo::Request) => Some(requests),
        (HopTrace::Watched { replies, .. }, Echo::Reply) => Some(replies),
        (HopTrace::Blind { .. }, _) => None,
    };
    let Some((first, entry)) = seen(Hop::NfPreroutingFirst).zip(seen(Hop::TcIn)) else { return false };
    first.iter().any(|(probe, step)| entry.get(probe).is_some_and(|entry| step.first_ns < entry.first_ns))
        || !first.is_empty() && entry.is_empty() && seen(Hop::NetifIn).is_some_and(|netif| netif.is_empty())
}

/// Returns the steps into the far end, up to whoever answers there.
fn arrival(evidence: &Evidence, leg: Echo, side: Side) -> Vec<PathStep> {
    let mut steps: Vec<PathStep> = inwards(evidence, leg, side).collect();
    if let Some(hop) = taken_at(evidence, side) {
        let last = steps.iter().position(|step| step.checkpoint.station == Station::Hop(hop));
        steps.truncate(last.map_or(steps.len(), |last| last + 1));
        return steps;
    }
    steps.push(step(leg, side, Station::Hop(Hop::SocketIn), May));
    steps.push(step(leg, side, Station::Hop(Hop::IcmpIn), Must));
    steps
}

/// Returns the hop at which requests are taken from the far kernel, if somebody else answers: no hop after it is on
/// their way.
fn taken_at(evidence: &Evidence, side: Side) -> Option<Hop> {
    match (evidence.mode, evidence.responder) {
        (_, Responder::Kernel) | (ProbeMode::ReplyOnly, Responder::Agent | Responder::Xdp) => None,
        (_, Responder::Agent | Responder::Nobody) if evidence.host(side).host.xdp_mode == XdpAttachment::Off => {
            Some(Hop::TcIn)
        }
        (_, Responder::Agent | Responder::Xdp | Responder::Nobody) => Some(Hop::XdpIn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::Target,
        model::trace::{ProbePassage, SenderTrace},
    };

    fn evidence() -> Evidence {
        let address = "10.78.0.10".parse().expect("an address");
        Evidence::new(Target { name: "b".into(), address }, SenderTrace::default(), HostTrace::default())
    }

    fn drawn(evidence: &Evidence) -> String {
        let short = |step: &PathStep| {
            let side = if step.checkpoint.host == Side::Local { "a" } else { "b" };
            format!("{side}:{}", step.checkpoint.station.name())
        };
        journey(evidence).iter().map(short).collect::<Vec<_>>().join(" ")
    }

    const OUT_OF_A: &str = "a:send a:nf_output_first a:nf_output_last a:nf_postrouting_first a:nf_postrouting_last \
                            a:cgroup_out a:tc_out a:dev_queue a:xmit";
    const INTO_A: &str = "a:xdp_in a:netif_in a:tc_in a:nf_prerouting_first a:nf_prerouting_last a:nf_input_first \
                          a:nf_input_last";

    #[test]
    fn with_one_end_the_reply_is_awaited_right_behind_the_request() {
        assert_eq!(drawn(&evidence()), format!("{OUT_OF_A} {INTO_A} a:icmp_in a:socket_in a:recv"));
    }

    #[test]
    fn with_a_peer_its_hops_lie_in_between() {
        let evidence = Evidence { peer: Some(HostTrace::default()), ..evidence() };
        let far = "b:nf_input_last b:socket_in b:icmp_in b:nf_output_first";
        assert!(drawn(&evidence).contains(far), "{}", drawn(&evidence));
        assert_eq!(journey(&evidence).len(), 9 + 9 + 8 + 10);
    }

    #[test]
    fn a_target_on_this_host_is_both_ends() {
        let mut evidence = evidence();
        evidence.local.host.interface = "lo".into();
        assert_eq!(journey(&evidence).len(), 9 + 9 + 8 + 10);
        assert!(!drawn(&evidence).contains("b:"));
    }

    #[test]
    fn unasked_replies_end_at_the_far_kernels_icmp() {
        let evidence = Evidence { mode: ProbeMode::ReplyOnly, peer: Some(HostTrace::default()), ..evidence() };
        let steps = journey(&evidence);
        assert!(steps.iter().all(|step| step.leg == Echo::Reply));
        assert_eq!(steps.last().map(|step| step.checkpoint.station), Some(Station::Hop(Hop::IcmpIn)));
    }

    #[test]
    fn generic_xdp_comes_behind_the_tracepoint() {
        let mut evidence = evidence();
        evidence.local.host.xdp_mode = XdpAttachment::Generic;
        assert!(drawn(&evidence).contains("a:netif_in a:xdp_in a:tc_in"));
    }

    #[test]
    fn prerouting_at_the_port_of_a_bridge_comes_before_the_bridge() {
        let seen = |first_ns| HopTrace::Watched {
            requests: [(0, ProbePassage { first_ns, times: 1, ..ProbePassage::default() })].into(),
            replies: std::collections::BTreeMap::new(),
        };
        let bridged = |hops: &[(Hop, HopTrace)]| {
            let hops = hops.iter().map(|(hop, sight)| (*hop, sight.clone())).collect();
            let evidence = Evidence { peer: Some(HostTrace { hops, ..HostTrace::default() }), ..evidence() };
            drawn(&evidence).contains("a:xmit b:nf_prerouting_first b:nf_prerouting_last b:xdp_in")
        };
        let none = || HopTrace::Watched { requests: [].into(), replies: [].into() };
        let port = (Hop::NfPreroutingFirst, seen(5));
        assert!(bridged(&[port.clone(), (Hop::TcIn, seen(7))]));
        assert!(!bridged(&[port.clone(), (Hop::TcIn, seen(3))]));
        // Dropped in between: nothing entered by the bridge.
        assert!(bridged(&[port.clone(), (Hop::TcIn, none()), (Hop::NetifIn, none())]));
        assert!(!bridged(std::slice::from_ref(&port)) && !bridged(&[port, (Hop::TcIn, none())]));
    }

    #[test]
    fn an_answer_at_the_nic_never_enters_the_far_stack() {
        let evidence = Evidence { responder: Responder::Xdp, peer: Some(HostTrace::default()), ..evidence() };
        assert!(drawn(&evidence).contains("a:xmit b:xdp_in a:xdp_in"), "{}", drawn(&evidence));
    }

    #[test]
    fn an_agent_that_answers_takes_requests_where_they_enter_and_sends_from_the_top() {
        let far = |xdp_mode| {
            let mut peer = HostTrace::default();
            peer.host.xdp_mode = xdp_mode;
            drawn(&Evidence { responder: Responder::Agent, peer: Some(peer), ..evidence() })
        };
        assert!(
            far(XdpAttachment::Native).contains("a:xmit b:xdp_in b:nf_output_first"),
            "{}",
            far(XdpAttachment::Native)
        );
        assert!(
            far(XdpAttachment::Generic).contains("a:xmit b:netif_in b:xdp_in b:nf_output_first"),
            "{}",
            far(XdpAttachment::Generic)
        );
        assert!(
            far(XdpAttachment::Off).contains("b:netif_in b:tc_in b:nf_output_first"),
            "{}",
            far(XdpAttachment::Off)
        );
    }
}
