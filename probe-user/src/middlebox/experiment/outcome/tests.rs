//! Runs as boxes of different kinds would make them, and what is said of each.

use std::time::Duration;

use super::*;
use crate::middlebox::{
    experiment::{builtin, plan},
    timeline::{Arrival, EchoId, Endpoint, SendTime, TimedPacket, Timeline, TimelinePacket},
};

fn names() -> EndNames {
    EndNames { near: "a".into(), far: "b".into() }
}

/// Runs `script` through a box. `lets` decides, knowing the packets before it, whether a packet passes.
fn outcome(script: &Script, lets: impl Fn(&Timeline, usize) -> bool) -> ExperimentOutcome {
    let mut next = 1000;
    let plan = plan::plan(script, || {
        next += 1;
        next
    });
    let deliveries = (0..plan.timeline.packets.len())
        .map(|packet| delivery(&plan.timeline.packets[packet], lets(&plan.timeline, packet)));
    let run = PlayedTimeline { deliveries: deliveries.collect(), clock_error: Duration::ZERO };
    judge(script, &plan, &run, &names())
}

fn delivery(packet: &TimedPacket, arrives: bool) -> Delivery {
    let arrival = Arrival {
        id: 1,
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
        seq: packet.seq,
        code: packet.code,
        ttl: 63,
        size: packet.size,
        after: packet.at,
    };
    let arrived = if arrives { vec![arrival] } else { Vec::new() };
    Delivery { sent: SendTime::At(packet.at), left: Some(true), arrived }
}

fn built_in(name: &str) -> Script {
    builtin::named(name).expect(name)
}

/// Acts like a security group around the near end: replies pass if they answer a request.
fn security_group(timeline: &Timeline, packet: usize) -> bool {
    let packet = &timeline.packets[packet];
    match (packet.from, packet.message) {
        (Endpoint::Near, TimelinePacket::Request) => true,
        (Endpoint::Far, TimelinePacket::Reply) => matches!(packet.id, EchoId::OfArrived(_)),
        _ => false,
    }
}

#[test]
fn through_a_security_group_the_first_four_come_out_as_designed() {
    for name in ["normal", "reply-only", "many-replies", "id-mismatch"] {
        let outcome = outcome(&built_in(name), security_group);
        assert!(outcome.as_expected, "{name}: {}", outcome.finding);
    }
}

#[test]
fn the_seeds_question_is_answered_in_words() {
    let outcome = outcome(&built_in("id-mismatch"), security_group);
    assert_eq!(
        outcome.finding,
        "Reply Y left b's NIC and never reached a's (0 of 3); the control, reply X reached a's NIC (3 of 3), in the \
         same second. A box between the two NICs keys its state on the id. It was neither kernel nor driver."
    );
}

#[test]
fn a_router_without_state_is_not_taken_for_one_that_remembers() {
    let outcome = outcome(&built_in("reply-only"), |_, _| true);
    assert!(!outcome.as_expected);
    assert!(outcome.finding.contains("No box between the two NICs checks whether there was a request."));
    assert!(outcome.finding.contains("But reply N reached a's NIC (3 of 3)"), "{}", outcome.finding);
}

#[test]
fn where_the_control_is_lost_nothing_is_concluded() {
    let outcome = outcome(&built_in("id-mismatch"), |timeline, packet| timeline.packets[packet].from == Endpoint::Near);
    assert!(outcome.finding.starts_with("Nothing can be concluded: reply X left b's NIC"), "{}", outcome.finding);
    assert!(!outcome.as_expected);
}

#[test]
fn one_lost_packet_in_three_repetitions_changes_nothing() {
    let script = built_in("id-mismatch");
    let lost = |timeline: &Timeline, packet: usize| packet != 6 && security_group(timeline, packet);
    let outcome = outcome(&script, lost);
    assert!(outcome.as_expected, "{}", outcome.finding);
    assert!(outcome.finding.contains("mostly reached a's NIC (2 of 3)"), "{}", outcome.finding);
}

#[test]
fn what_never_left_its_host_says_nothing_of_the_way() {
    let script = built_in("reply-only");
    let plan = plan::plan(&script, || 7);
    let refused = Delivery { sent: SendTime::Refused("EPERM".into()), ..Delivery::default() };
    let run = PlayedTimeline { deliveries: vec![refused; plan.timeline.packets.len()], clock_error: Duration::ZERO };
    let outcome = judge(&script, &plan, &run, &names());
    assert_eq!(
        outcome.finding,
        "Nothing can be concluded: request P of a did not leave it: its own kernel refused it: EPERM."
    );
    assert!(!outcome.as_expected);
}
