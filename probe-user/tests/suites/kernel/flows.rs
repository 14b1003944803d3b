//! Flows in the kernel: which reply answers which request, how long it took, and what is lost.

use std::{
    net::Ipv4Addr,
    thread::sleep,
    time::{Duration, Instant},
};

use probe_ebpf::{
    Flow, FlowKey, Hop, Kind, Skip,
    flow::{MAX_FLOWS, MAX_PENDING, rtt_bucket},
    packet::mapped,
};
use probe_user::{
    ebpf::{
        flows::{FlowMaps, LostRequests},
        load::{Job, Switch},
    },
    traffic::{EchoMessage, Frame},
};

use super::{
    loaded::{ALL_HOPS, Loaded},
    ready::ready,
    samples::{A, A6, B, B6, REPLY, REPLY6, REQUEST, REQUEST6},
};

const NOW: Duration = Duration::ZERO;

struct Tracked {
    loaded: Loaded,
    flows: FlowMaps,
}

impl Tracked {
    fn new() -> Self {
        let mut loaded = Loaded::new(&Job { track: Switch::On, ..Job::count(&ALL_HOPS) });
        let flows = loaded.flows();
        Self { loaded, flows }
    }

    /// A packet between IPv4 addresses.
    fn v4(&self, hop: Hop, kind: Kind, ends: (Ipv4Addr, Ipv4Addr), id: u16, seq: u16) {
        self.loaded.run(hop, &Frame::v4(ends.0, ends.1, &EchoMessage::new(kind, id, seq, b"payload")).bytes());
    }

    /// A request from A to B that leaves here.
    fn request(&self, id: u16, seq: u16) {
        self.v4(Hop::TcOut, REQUEST, (A, B), id, seq);
    }

    /// The reply to it.
    fn reply(&self, id: u16, seq: u16) {
        self.v4(Hop::XdpIn, REPLY, (B, A), id, seq);
    }

    /// Replies that matched, of all flows.
    fn answered(&self) -> u64 {
        self.flows.read().expect("flows").iter().map(|(_, flow)| flow.answered).sum()
    }

    /// The only flow there is.
    fn only(&self) -> (FlowKey, Flow) {
        let flows = self.flows.read().expect("flows");
        let [flow] = flows[..] else { panic!("{} flows", flows.len()) };
        flow
    }

    /// What has waited for `timeout`.
    fn lost(&self, timeout: Duration) -> Vec<LostRequests> {
        self.flows.take_lost(timeout).expect("what waits")
    }
}

#[test]
fn a_reply_that_enters_answers_the_request_that_left_at_xdp_and_at_tc() {
    if !ready("a_reply_that_enters_answers_the_request_that_left_at_xdp_and_at_tc") {
        return;
    }
    for hop in [Hop::XdpIn, Hop::TcIn] {
        let tracked = Tracked::new();
        let start = Instant::now();
        tracked.request(7, 1);
        sleep(Duration::from_millis(5));
        tracked.v4(hop, REPLY, (B, A), 7, 1);
        let longest = start.elapsed();
        let (key, flow) = tracked.only();
        assert_eq!(key, FlowKey { asker: mapped(A.octets()), answerer: mapped(B.octets()), id: 7, outbound: 1 });
        assert_eq!(flow.answered, 1);
        let filled: Vec<usize> = (0..flow.rtt.len()).filter(|bucket| flow.rtt[*bucket] > 0).collect();
        let [bucket] = filled[..] else { panic!("{filled:?}") };
        assert_eq!(flow.rtt[bucket], 1);
        let possible = rtt_bucket(5_000_000)..=rtt_bucket(longest.as_nanos() as u64);
        assert!(possible.contains(&bucket), "bucket {bucket} of {possible:?}");
        assert!(tracked.lost(NOW).is_empty());
    }
}

#[test]
fn a_reply_that_leaves_answers_the_request_that_entered() {
    if !ready("a_reply_that_leaves_answers_the_request_that_entered") {
        return;
    }
    let tracked = Tracked::new();
    tracked.v4(Hop::XdpIn, REQUEST, (B, A), 7, 1);
    tracked.v4(Hop::TcOut, REPLY, (A, B), 7, 1);
    let (key, flow) = tracked.only();
    assert_eq!(key, FlowKey { asker: mapped(B.octets()), answerer: mapped(A.octets()), id: 7, outbound: 0 });
    assert_eq!((flow.answered, tracked.lost(NOW).len()), (1, 0));
}

#[test]
fn ipv6_flows_have_their_own_addresses() {
    if !ready("ipv6_flows_have_their_own_addresses") {
        return;
    }
    let tracked = Tracked::new();
    let request = Frame::v6(A6, B6, &EchoMessage::new(REQUEST6, 7, 1, b"payload")).hop_by_hop(&[]);
    tracked.loaded.run(Hop::TcOut, &request.bytes());
    tracked.reply(7, 1);
    assert_eq!(tracked.answered(), 0, "an IPv4 reply is no answer");
    tracked.loaded.run(Hop::XdpIn, &Frame::v6(B6, A6, &EchoMessage::new(REPLY6, 7, 1, b"payload")).bytes());
    let flows = tracked.flows.read().expect("flows");
    let (key, flow) = flows.iter().find(|(key, _)| key.asker == A6.octets()).expect("a flow");
    assert_eq!((key.answerer, key.id, key.outbound, flow.answered), (B6.octets(), 7, 1, 1));
}

#[test]
fn another_address_id_sequence_number_or_direction_is_no_answer() {
    if !ready("another_address_id_sequence_number_or_direction_is_no_answer") {
        return;
    }
    let tracked = Tracked::new();
    let other = Ipv4Addr::new(10, 0, 0, 3);
    tracked.request(7, 1);
    tracked.v4(Hop::XdpIn, REPLY, (other, A), 7, 1);
    tracked.v4(Hop::XdpIn, REPLY, (B, other), 7, 1);
    tracked.v4(Hop::XdpIn, REPLY, (A, B), 7, 1);
    tracked.reply(8, 1);
    tracked.reply(7, 2);
    tracked.v4(Hop::TcOut, REPLY, (B, A), 7, 1);
    tracked.v4(Hop::XdpIn, REQUEST, (B, A), 7, 1);
    assert_eq!(tracked.answered(), 0);
    tracked.reply(7, 1);
    assert_eq!(tracked.answered(), 1, "and the right one still is");
}

#[test]
fn what_waits_for_longer_than_the_timeout_is_lost_and_told_once() {
    if !ready("what_waits_for_longer_than_the_timeout_is_lost_and_told_once") {
        return;
    }
    let tracked = Tracked::new();
    tracked.request(7, 1);
    tracked.request(7, 2);
    tracked.reply(7, 1);
    assert!(tracked.lost(Duration::from_secs(3600)).is_empty(), "the timeout is not over");
    let (flow, _) = tracked.only();
    assert_eq!(tracked.lost(NOW), [LostRequests { flow, requests: 1 }]);
    assert!(tracked.lost(NOW).is_empty());
    tracked.reply(7, 2);
    assert_eq!(tracked.answered(), 1, "too late: it was told as lost");
}

#[test]
fn each_request_wants_its_own_answer_and_each_answer_counts_once() {
    if !ready("each_request_wants_its_own_answer_and_each_answer_counts_once") {
        return;
    }
    let tracked = Tracked::new();
    for _ in 0..3 {
        tracked.request(7, 1);
    }
    tracked.reply(7, 1);
    tracked.reply(7, 1);
    assert_eq!(tracked.answered(), 2);
    let lost: u64 = tracked.lost(NOW).iter().map(|loss| loss.requests).sum();
    assert_eq!(lost, 1);
    tracked.request(7, 2);
    tracked.reply(7, 2);
    tracked.reply(7, 2);
    assert_eq!(tracked.answered(), 3, "the copy of a reply is no second answer");
}

#[test]
fn a_reply_that_nobody_asked_for_is_counted_but_answers_nothing() {
    if !ready("a_reply_that_nobody_asked_for_is_counted_but_answers_nothing") {
        return;
    }
    let tracked = Tracked::new();
    tracked.reply(7, 1);
    let (key, flow) = tracked.only();
    assert_eq!((key.asker, key.outbound, flow.answered), (mapped(A.octets()), 1, 0));
    assert_eq!(tracked.loaded.packets(Hop::XdpIn, REPLY, 7), 1);
    assert!(tracked.lost(NOW).is_empty());
}

#[test]
fn requests_beyond_the_table_are_counted_and_told_as_not_followed() {
    if !ready("requests_beyond_the_table_are_counted_and_told_as_not_followed") {
        return;
    }
    let tracked = Tracked::new();
    for seq in 0..=u16::MAX {
        tracked.request(7, seq);
    }
    assert_eq!(tracked.loaded.skips(), [].into());
    tracked.request(8, 1);
    assert_eq!(tracked.loaded.skips(), [(Skip::PendingFull, 1)].into());
    assert_eq!(tracked.loaded.packets(Hop::TcOut, REQUEST, 8), 1);
    let lost: u64 = tracked.lost(NOW).iter().map(|loss| loss.requests).sum();
    assert_eq!(lost, u64::from(MAX_PENDING));
}

#[test]
fn the_flows_heard_of_last_are_kept() {
    if !ready("the_flows_heard_of_last_are_kept") {
        return;
    }
    let tracked = Tracked::new();
    let many = 2 * MAX_FLOWS;
    for number in 0..many {
        let to = Ipv4Addr::from(0x0b00_0000 + number);
        tracked.v4(Hop::XdpIn, REPLY, (to, A), 7, 1);
    }
    let flows = tracked.flows.read().expect("flows");
    assert!(!flows.is_empty() && flows.len() <= MAX_FLOWS as usize, "{} flows", flows.len());
    let newest = mapped(Ipv4Addr::from(0x0b00_0000 + many - 1).octets());
    assert!(flows.iter().any(|(key, _)| key.answerer == newest));
    assert_eq!(tracked.loaded.skips(), [].into());
    assert_eq!(tracked.loaded.packets(Hop::XdpIn, REPLY, 7), u64::from(many));
}

#[test]
fn a_new_flow_starts_from_nothing_where_another_was() {
    if !ready("a_new_flow_starts_from_nothing_where_another_was") {
        return;
    }
    let tracked = Tracked::new();
    tracked.request(7, 1);
    tracked.reply(7, 1);
    tracked.request(8, 1);
    let flows = tracked.flows.read().expect("flows");
    let (_, second) = flows.iter().find(|(key, _)| key.id == 8).expect("a flow");
    assert_eq!((second.answered, second.rtt), (0, [0; 256]));
}
