//! Verdicts over more places than two: what a router of the same kernel saw, and did not let on.

use probe_ebpf::Echo;
use std::collections::BTreeMap;

use probe_ebpf::Hop;
use probe_user::{
    diagnosis::{
        Diagnosis, Evidence, diagnose,
        document::{Confidence, HopStatus, Layer, Outcome, PlaceRole, StopHost},
    },
    model::trace::{Drop, HookTrace, HopTrace, PlaceTrace, PortTrace, ProbePassage},
};

use crate::common::fixture::{Fixture, Lose, healthy};

/// A run whose probes are lost before a step, or are not.
fn run(lost: Option<&str>, two_sided: bool) -> Evidence {
    let lose = lost.map(|before| Lose { before: before.into(), probes: None, event: None, errno: None, icmp: None });
    Fixture { lose: lose.into_iter().collect(), two_sided, ..healthy() }.evidence()
}

fn passages(probes: u16, at: u64) -> BTreeMap<u16, ProbePassage> {
    let passage = |probe: u16| ProbePassage { first_ns: at + u64::from(probe), times: 1, ..ProbePassage::default() };
    (0..probes).map(|probe| (probe, passage(probe))).collect()
}

/// An interface that requests entered by, or left by.
fn port(interface: &str, hops: &[Hop], probes: u16, at: u64) -> PortTrace {
    let watched = |(hop, at): (&Hop, u64)| {
        let trace = HopTrace::Watched { requests: passages(probes, at), replies: BTreeMap::new() };
        (*hop, trace)
    };
    PortTrace { interface: interface.into(), hops: hops.iter().zip(at..).map(watched).collect() }
}

fn router(ports: Vec<PortTrace>) -> PlaceTrace {
    let enter = Some("ip netns exec fw".to_owned());
    PlaceTrace { name: "fw".into(), netns: 7, enter, ports, ..PlaceTrace::default() }
}

/// An event in the router's forward chain, of which no look-up tells.
fn dropped(probe: u16) -> Drop {
    Drop {
        time_ns: 3_000_000_000,
        probe: Some(probe),
        leg: Echo::Request,
        id: 1,
        seq: probe + 1,
        reason: "NETFILTER_DROP".into(),
        function: "nft_do_chain".into(),
        stack: vec!["nf_hook_slow".into(), "ip_forward".into()],
        interface: Some("eth0".into()),
        source: [10, 77, 0, 10].into(),
        destination: [10, 78, 0, 10].into(),
        frame: probe_user::model::trace::FrameFacts::default(),
    }
}

const OUT: [Hop; 2] = [Hop::DevQueue, Hop::Xmit];
const SENT: u64 = 2_000_000_000;

fn only_stop(diagnosis: &Diagnosis) -> (StopHost, Layer, Option<&str>) {
    let [stop] = diagnosis.stops.as_slice() else { panic!("{:#?}", diagnosis.stops) };
    (stop.host, stop.layer, stop.place_name.as_deref())
}

#[test]
fn what_enters_a_router_and_leaves_it_by_no_interface_stops_in_it() {
    for two_sided in [false, true] {
        let before = if two_sided { "request peer xdp_in" } else { "reply local xdp_in" };
        let mut evidence = run(Some(before), two_sided);
        evidence.places = vec![router(vec![port("eth0", &[Hop::NetifIn], 10, SENT)])];
        evidence.places[0].drops = (0..10).map(dropped).collect();
        let diagnosis = diagnose(&evidence);
        assert_eq!(only_stop(&diagnosis), (StopHost::Via, Layer::Netfilter, Some("fw")), "{two_sided}");
        let sentence = &diagnosis.verdict.sentence;
        assert!(sentence.contains("in network namespace fw (a router on this host)"), "{sentence}");
        let command = &diagnosis.stops[0].commands[0].command;
        assert!(command.starts_with("ip netns exec fw "), "{command}");
        let missing: Vec<_> = diagnosis.hops.iter().filter(|hop| hop.place == "fw").map(|hop| hop.state).collect();
        assert_eq!(missing, [HopStatus::Seen, HopStatus::Missing]);
    }
}

/// Netfilter's hooks of a router, those that requests passed and those that none did.
fn hooks(seen: &[Hop], silent: &[Hop], since_ns: u64) -> Option<HookTrace> {
    let watched = |hop: &Hop, requests| (*hop, HopTrace::Watched { requests, replies: BTreeMap::new() });
    let passed = seen.iter().zip(SENT + 20..).map(|(hop, at)| watched(hop, passages(10, at)));
    let hops = passed.chain(silent.iter().map(|hop| watched(hop, BTreeMap::new()))).collect();
    Some(HookTrace { since_ns, hops })
}

const BEFORE_FORWARD: [Hop; 3] = [Hop::NfPreroutingFirst, Hop::NfPreroutingLast, Hop::NfForwardFirst];
const BEHIND: [Hop; 5] =
    [Hop::NfForwardLast, Hop::NfPostroutingFirst, Hop::NfPostroutingLast, Hop::NfInputFirst, Hop::NfInputLast];

#[test]
fn what_enters_a_hook_and_does_not_leave_it_stops_there_though_no_event_says_so() {
    let mut evidence = run(Some("request peer xdp_in"), true);
    let place = router(vec![port("eth0", &[Hop::NetifIn], 10, SENT)]);
    evidence.places = vec![PlaceTrace { hooks: hooks(&BEFORE_FORWARD, &BEHIND, SENT), ..place }];
    let diagnosis = diagnose(&evidence);
    assert_eq!(only_stop(&diagnosis), (StopHost::Via, Layer::Netfilter, Some("fw")));
    let stop = &diagnosis.stops[0];
    let hops = (stop.last_seen.station.name(), stop.first_missing.station.name());
    assert_eq!(hops, ("nf_forward_first", "nf_forward_last"));
    assert_eq!((stop.confidence, stop.drop_events), (Confidence::Certain, 0));
    let sentence = &diagnosis.verdict.sentence;
    assert!(sentence.contains("in hook forward"), "{sentence}");
}

#[test]
fn hooks_that_were_watched_too_late_accuse_nobody() {
    let mut evidence = run(None, true);
    let ports = vec![port("eth0", &[Hop::NetifIn], 10, SENT), port("eth1", &OUT, 10, SENT + 100)];
    // The first probes had passed when they began to be watched.
    let late = hooks(&[], &[&BEFORE_FORWARD[..], &BEHIND[..]].concat(), SENT + 5);
    evidence.places = vec![PlaceTrace { hooks: late, ..router(ports) }];
    let diagnosis = diagnose(&evidence);
    assert_eq!((diagnosis.verdict.outcome, diagnosis.stops.len()), (Outcome::Delivered, 0));
    let hooks: Vec<_> = diagnosis
        .hops
        .iter()
        .filter(|hop| hop.place == "fw" && hop.checkpoint.station.name().starts_with("nf_"))
        .collect();
    assert_eq!(hooks.len(), 6, "{hooks:#?}");
    assert!(hooks.iter().all(|hop| hop.state == HopStatus::Blind && hop.why.is_some()), "{hooks:#?}");
}

#[test]
fn a_bridge_whose_hooks_saw_nothing_is_healthy() {
    let mut evidence = run(None, true);
    let ports = vec![port("veth0", &[Hop::NetifIn], 10, SENT), port("veth1", &OUT, 10, SENT + 100)];
    let silent = hooks(&[], &[&BEFORE_FORWARD[..], &BEHIND[..]].concat(), SENT);
    evidence.places = vec![PlaceTrace { hooks: silent, ..router(ports) }];
    let diagnosis = diagnose(&evidence);
    assert_eq!((diagnosis.verdict.outcome, diagnosis.stops.len()), (Outcome::Delivered, 0));
    assert!(diagnosis.hops.iter().all(|hop| hop.place != "fw" || hop.state == HopStatus::Seen));
}

#[test]
fn a_router_that_let_them_on_is_not_accused_and_the_gap_has_its_name() {
    let mut evidence = run(Some("request peer xdp_in"), true);
    let ports = vec![port("eth0", &[Hop::NetifIn], 10, SENT), port("eth1", &OUT, 10, SENT + 100)];
    evidence.places = vec![router(ports)];
    let diagnosis = diagnose(&evidence);
    assert_eq!(only_stop(&diagnosis), (StopHost::Network, Layer::Path, None));
    let sentence = &diagnosis.verdict.sentence;
    assert!(sentence.contains("left network namespace fw and never reached b"), "{sentence}");
}

#[test]
fn a_place_that_only_drop_events_tell_of_is_not_drawn_as_seen() {
    let mut evidence = run(Some("request peer xdp_in"), true);
    evidence.places = vec![PlaceTrace { drops: (0..10).map(dropped).collect(), ..router(Vec::new()) }];
    let diagnosis = diagnose(&evidence);
    assert_eq!(only_stop(&diagnosis), (StopHost::Via, Layer::Netfilter, Some("fw")));
    assert!(diagnosis.hops.iter().all(|hop| hop.place != "fw" || hop.state == HopStatus::Blind));
}

#[test]
fn probes_that_take_another_way_are_not_missed_at_a_router() {
    let mut evidence = run(None, true);
    evidence.places = vec![router(vec![port("eth0", &[Hop::NetifIn], 4, SENT), port("eth1", &OUT, 4, SENT + 100)])];
    let diagnosis = diagnose(&evidence);
    assert_eq!((diagnosis.verdict.outcome, diagnosis.stops.len()), (Outcome::Delivered, 0));
    let roles: Vec<PlaceRole> = diagnosis.places.iter().map(|place| place.role).collect();
    assert_eq!(roles, [PlaceRole::Sender, PlaceRole::Router, PlaceRole::Target]);
}

#[test]
fn what_both_ends_of_one_kernel_found_is_one_place_and_an_end_is_none() {
    let mut evidence = run(None, true);
    evidence.local.places = vec![PlaceTrace { netns: 9, ..router(Vec::new()) }, router(Vec::new())];
    evidence.local.host.boot = "one".into();
    let Some(peer) = evidence.peer.as_mut() else { panic!("two-sided") };
    peer.places = vec![router(Vec::new())];
    (peer.host.netns, peer.host.boot) = (9, "one".into());
    let inodes =
        |evidence: Evidence| evidence.places.iter().map(|place| (place.netns, place.of_peer)).collect::<Vec<_>>();
    assert_eq!(inodes(evidence.clone().gathered()), [(7, false)]);
    let other = |mut evidence: Evidence| {
        if let Some(peer) = evidence.peer.as_mut() {
            peer.host.boot = "another".into();
        }
        evidence
    };
    assert_eq!(inodes(other(evidence).gathered()), [(9, false), (7, false), (7, true)]);
}

#[test]
fn the_only_host_that_a_router_sent_them_to_is_the_end_and_one_with_copies_is_not() {
    let stops_at = |exits: &[&str]| {
        let mut evidence = run(Some("reply local xdp_in"), false);
        let exits = exits.iter().zip(SENT + 10..).map(|(name, at)| port(name, &OUT, 10, at));
        let fw = router([port("eth0", &[Hop::NetifIn], 10, SENT)].into_iter().chain(exits).collect());
        let ports = vec![port("eth0", &[Hop::NetifIn], 10, SENT + 40)];
        let event = |probe| Drop { reason: "OTHERHOST".into(), function: "ip_rcv_core".into(), ..dropped(probe) };
        let drops = (0..10).map(event).collect();
        evidence.places = vec![fw, PlaceTrace { name: "box".into(), netns: 8, drops, ..router(ports) }];
        let diagnosis = diagnose(&evidence);
        only_stop(&diagnosis).2.map(str::to_owned)
    };
    assert_eq!(stops_at(&["eth1"]).as_deref(), Some("box"));
    assert_ne!(stops_at(&["eth1", "eth2"]).as_deref(), Some("box"));
}
