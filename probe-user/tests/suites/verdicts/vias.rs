//! Verdicts over hosts in between that have agents of their own, each with its own kernel and clock.

use probe_ebpf::{Echo, Hop};
use probe_user::{
    diagnosis::{
        Diagnosis, Evidence, diagnose,
        document::{Confidence, Layer, Outcome, PlaceRole, StopHost},
        path::Side,
    },
    model::trace::{
        Drop, Finding, FrameFacts, HookTrace, HopTrace, HostFacts, HostTrace, NextHopFacts, PlaceTrace, PortTrace,
        ProbePassage, ViaTrace,
    },
};

use crate::common::fixture::{Fixture, Lose, healthy};

const PROBES: u16 = 10;
const OUT: [Hop; 2] = [Hop::DevQueue, Hop::Xmit];

fn run(lost: Option<&str>, two_sided: bool) -> Evidence {
    let lose = lost.map(|before| Lose { before: before.into(), probes: None, event: None, errno: None, icmp: None });
    Fixture { lose: lose.into_iter().collect(), two_sided, ..healthy() }.evidence()
}

/// What a hop saw of one leg: every probe, from this time on, with this TTL.
fn seen(leg: Echo, at: u64, ttl: u8) -> HopTrace {
    let passage =
        |probe: u16| ProbePassage { first_ns: at + u64::from(probe), times: 1, ttl, ..ProbePassage::default() };
    let all = (0..PROBES).map(|probe| (probe, passage(probe))).collect();
    let none = std::collections::BTreeMap::new();
    match leg {
        Echo::Request => HopTrace::Watched { requests: all, replies: none },
        Echo::Reply => HopTrace::Watched { requests: none, replies: all },
    }
}

fn port(interface: &str, hops: &[Hop], leg: Echo, at: u64, ttl: u8) -> PortTrace {
    let hops = hops.iter().zip(at..).map(|(hop, at)| (*hop, seen(leg, at, ttl)));
    PortTrace { interface: interface.into(), hops: hops.collect() }
}

/// A router that packets of a leg came to with this TTL, by its own clock, and left by `eth1`.
fn crossed(leg: Echo, at: u64, ttl: u8) -> Vec<PortTrace> {
    vec![port("eth0", &[Hop::NetifIn], leg, at, ttl), port("eth1", &OUT, leg, at + 50, ttl - 1)]
}

/// A host in between with a kernel of its own.
fn via(name: &str, netns: u64, ports: Vec<PortTrace>) -> ViaTrace {
    let place = PlaceTrace { netns, ports, ..PlaceTrace::default() };
    let host = HostFacts { hostname: name.into(), netns, boot: format!("boot of {name}"), ..HostFacts::default() };
    let trace = HostTrace { host, places: vec![place], ..HostTrace::default() };
    ViaTrace { trace, ..ViaTrace::default() }
}

fn dropped(probe: u16, reason: &str, function: &str) -> Drop {
    Drop {
        time_ns: 9_000,
        probe: Some(probe),
        leg: Echo::Request,
        id: 1,
        seq: probe + 1,
        reason: reason.into(),
        function: function.into(),
        stack: vec!["nf_hook_slow".into(), "ip_forward".into()],
        interface: Some("eth0".into()),
        source: [10, 77, 0, 10].into(),
        destination: [10, 78, 0, 10].into(),
        frame: FrameFacts::default(),
    }
}

fn judged(mut evidence: Evidence, vias: Vec<ViaTrace>) -> Diagnosis {
    evidence.vias = vias;
    diagnose(&evidence.gathered())
}

fn names(diagnosis: &Diagnosis) -> Vec<&str> {
    diagnosis.places.iter().map(|place| place.name.as_str()).collect()
}

/// The places of a leg in the order of the hops of the document.
fn way(diagnosis: &Diagnosis, leg: Echo) -> Vec<&str> {
    let mut places: Vec<&str> =
        diagnosis.hops.iter().filter(|hop| hop.leg == leg).map(|hop| hop.place.as_str()).collect();
    places.dedup();
    places
}

fn only_stop(diagnosis: &Diagnosis) -> (StopHost, Layer, Option<&str>) {
    let [stop] = diagnosis.stops.as_slice() else { panic!("{:#?}", diagnosis.stops) };
    (stop.host, stop.layer, stop.place_name.as_deref())
}

/// Three routers in a row whose clocks are the other way round, in every order of typing.
#[test]
fn routers_are_in_the_order_of_their_ttls_whatever_was_typed_first() {
    let clocks = [("r1", 1, 900_000_000, 64), ("r2", 2, 50_000_000, 63), ("r3", 3, 10, 62)];
    for turn in 0..3 {
        let mut typed = clocks.to_vec();
        typed.rotate_left(turn);
        let vias = typed.iter().map(|(name, netns, at, ttl)| via(name, *netns, crossed(Echo::Request, *at, *ttl)));
        let diagnosis = judged(run(None, true), vias.collect());
        assert_eq!(way(&diagnosis, Echo::Request), ["a", "r1", "r2", "r3", "b"], "{turn}");
        assert_eq!(names(&diagnosis), ["a", "r1", "r2", "r3", "b"], "{turn}");
        assert_eq!((diagnosis.verdict.outcome, diagnosis.stops.len()), (Outcome::Delivered, 0));
        let hosts: Vec<&str> = diagnosis.vias.iter().map(|via| via.hostname.as_str()).collect();
        assert_eq!(hosts, typed.iter().map(|it| it.0).collect::<Vec<_>>(), "as typed");
    }
}

#[test]
fn of_two_bridges_the_clocks_tell_which_came_first_once_they_are_compared() {
    let bridge = |name, netns, at, ahead_ns| ViaTrace {
        ahead_ns,
        ..via(
            name,
            netns,
            vec![port("p0", &[Hop::NetifIn], Echo::Request, at, 64), port("p1", &OUT, Echo::Request, at + 5, 64)],
        )
    };
    let one = bridge("s1", 1, 500_000, 400_000);
    let other = bridge("s2", 2, 300_000, -200_000);
    let diagnosis = judged(run(None, true), vec![other, one]);
    assert_eq!(way(&diagnosis, Echo::Request), ["a", "s1", "s2", "b"]);
}

#[test]
fn what_enters_a_router_with_an_agent_and_leaves_it_by_no_interface_stops_on_that_host() {
    for two_sided in [false, true] {
        let before = if two_sided { "request peer xdp_in" } else { "reply local xdp_in" };
        let r1 = via("r1", 1, crossed(Echo::Request, 7, 64));
        let mut r2 = via("r2", 2, vec![port("eth0", &[Hop::NetifIn], Echo::Request, 5, 63)]);
        r2.trace.places[0].drops = (0..PROBES).map(|probe| dropped(probe, "NETFILTER_DROP", "nft_do_chain")).collect();
        let diagnosis = judged(run(Some(before), two_sided), vec![r2, r1]);
        assert_eq!(only_stop(&diagnosis), (StopHost::Via, Layer::Netfilter, Some("r2")), "{two_sided}");
        assert_eq!(diagnosis.verdict.confidence, Confidence::Certain);
        let sentence = &diagnosis.verdict.sentence;
        assert!(sentence.contains("dropped on r2 (a router on the way)"), "{sentence}");
        let stop = &diagnosis.stops[0];
        assert!(stop.advice.starts_with("on r2: nft "), "{}", stop.advice);
        let there = diagnosis.places.iter().find(|place| place.name == "r2").expect("a place");
        assert_eq!((stop.commands[0].on, there.host.as_str()), (Some(there.side), "r2"));
    }
}

#[test]
fn two_ends_of_a_hook_of_that_host_prove_the_drop_by_themselves() {
    let mut r1 = via("r1", 1, vec![port("eth0", &[Hop::NetifIn], Echo::Request, 100, 64)]);
    let hook = |hop: Hop, seen: HopTrace| (hop, seen);
    let nothing = || HopTrace::Watched { requests: [].into(), replies: [].into() };
    let passed = [(Hop::NfPreroutingFirst, 64), (Hop::NfPreroutingLast, 64), (Hop::NfForwardFirst, 63)];
    let mut hops: std::collections::BTreeMap<_, _> =
        probe_ebpf::contract::hook::HOOK_HOPS.iter().map(|hop| hook(*hop, nothing())).collect();
    hops.extend(passed.iter().zip(110..).map(|((hop, ttl), at)| hook(*hop, seen(Echo::Request, at, *ttl))));
    r1.trace.places[0].hooks = Some(HookTrace { since_ns: 1, hops });
    let diagnosis = judged(run(Some("request peer xdp_in"), true), vec![r1]);
    assert_eq!(only_stop(&diagnosis), (StopHost::Via, Layer::Netfilter, Some("r1")));
    assert_eq!(diagnosis.verdict.confidence, Confidence::Certain);
}

#[test]
fn the_network_is_what_lies_between_the_last_watched_host_and_the_far_end() {
    let vias = || vec![via("r2", 2, crossed(Echo::Request, 5, 63)), via("r1", 1, crossed(Echo::Request, 7, 64))];
    let diagnosis = judged(run(Some("request peer xdp_in"), true), vias());
    assert_eq!(only_stop(&diagnosis), (StopHost::Network, Layer::Path, None));
    let sentence = &diagnosis.verdict.sentence;
    assert!(sentence.contains("left r2 and never reached b"), "{sentence}");
    // Without a far end nobody knows who ended them.
    let diagnosis = judged(run(Some("reply local xdp_in"), false), vias());
    assert_eq!(only_stop(&diagnosis), (StopHost::Beyond, Layer::Path, None));
    let sentence = &diagnosis.verdict.sentence;
    assert!(sentence.contains("left r2's eth1, and nothing came back"), "{sentence}");
}

/// The first router sends them to the second one, which saw none of them.
#[test]
fn the_network_between_two_watched_hosts_is_named_by_both() {
    let next = |to: [u8; 4], next: [u8; 4]| {
        Finding::NextHop(NextHopFacts {
            to: to.into(),
            next: next.into(),
            interface: "eth1".into(),
            route: "default".into(),
            prefix: 0,
            instead: None,
            redirected_from: None,
        })
    };
    let mut r1 = via("r1", 1, crossed(Echo::Request, 7, 64));
    r1.trace.places[0].findings = vec![next([10, 78, 0, 10], [10, 5, 0, 2])];
    let mut r2 = ViaTrace { addresses: vec![[10, 5, 0, 2].into()], ..via("r2", 2, Vec::new()) };
    r2.trace.places[0].findings = vec![Finding::Address { address: [10, 78, 0, 10].into(), own: false }];
    let diagnosis = judged(run(Some("request peer xdp_in"), true), vec![r2.clone(), r1.clone()]);
    assert_eq!(only_stop(&diagnosis), (StopHost::Network, Layer::Path, None));
    let sentence = &diagnosis.verdict.sentence;
    assert!(sentence.contains("left r1 and never reached r2"), "{sentence}");
    assert_eq!(diagnosis.notes, Vec::<String>::new());

    // Another one has that address, or nobody knows it: then the far end is the next that was watched.
    r2.addresses = vec![[10, 5, 0, 3].into()];
    let diagnosis = judged(run(Some("request peer xdp_in"), true), vec![r2, r1]);
    let sentence = &diagnosis.verdict.sentence;
    assert!(sentence.contains("left r1 and never reached b"), "{sentence}");
    let note = "r2 saw none of them: they stop before they reach it, or it is not on the way";
    assert_eq!(diagnosis.notes, [note]);
}

#[test]
fn who_saw_nothing_of_what_was_answered_is_not_on_the_way() {
    let diagnosis =
        judged(run(None, true), vec![via("r9", 9, Vec::new()), via("r1", 1, crossed(Echo::Request, 7, 64))]);
    assert_eq!(diagnosis.verdict.outcome, Outcome::Delivered);
    assert_eq!(names(&diagnosis), ["a", "r1", "b"]);
    assert!(diagnosis.notes.contains(&"r9 saw none of them: it is not on the way".to_owned()), "{:?}", diagnosis.notes);
    assert!(diagnosis.vias[0].legs.is_empty() && diagnosis.vias[1].legs == [Echo::Request]);

    // Who could not look does not know.
    let mut blind = via("r9", 9, Vec::new());
    let why = HopTrace::Blind { why: "no BTF".into() };
    blind.trace.hops = [(Hop::NetifIn, why)].into();
    let diagnosis = judged(run(None, true), vec![blind]);
    let note = "it is not known whether r9 is on the way: its netif_in could not be watched (no BTF)";
    assert_eq!(diagnosis.notes, [note]);
}

#[test]
fn replies_that_come_back_another_way_are_told_and_nothing_is_missed() {
    let r1 = via("r1", 1, crossed(Echo::Request, 7, 64));
    let r2 = via("r2", 2, crossed(Echo::Reply, 5, 64));
    let diagnosis = judged(run(None, true), vec![r1, r2]);
    assert_eq!((diagnosis.verdict.outcome, diagnosis.stops.len()), (Outcome::Delivered, 0));
    assert_eq!(way(&diagnosis, Echo::Request), ["a", "r1", "b"]);
    assert_eq!(way(&diagnosis, Echo::Reply), ["b", "r2", "a"]);
    let note = "replies come back another way than requests go: through r2, not through r1";
    assert_eq!(diagnosis.notes, [note]);
}

/// It has another address than the target, and sent the requests on.
#[test]
fn a_far_end_that_forwards_is_a_place_on_the_way_and_who_answered_is_told() {
    let mut evidence = run(None, true);
    let peer = evidence.peer.as_mut().expect("two-sided");
    peer.host.netns = 5;
    for hop in peer.hops.values_mut() {
        *hop = HopTrace::Watched { requests: [].into(), replies: [].into() };
    }
    for (hop, at) in [(Hop::NetifIn, 10), (Hop::NfForwardFirst, 20), (Hop::NfForwardLast, 21)] {
        peer.hops.insert(hop, seen(Echo::Request, at, 63));
    }
    peer.ports = crossed(Echo::Request, 10, 64);
    let diagnosis = judged(evidence, Vec::new());
    assert_eq!(names(&diagnosis), ["a", "b"]);
    assert_eq!(diagnosis.places[1].role, PlaceRole::Router);
    assert!(matches!(diagnosis.places[1].side, Side::Via(_)) && diagnosis.sides.peer.is_none());
    let note = "b, which --peer reaches, is on the way and forwarded them: 10.78.0.10 answered";
    assert_eq!(diagnosis.notes[0], note);
    let sentence = &diagnosis.verdict.sentence;
    assert!(sentence.starts_with("All 10 requests were answered by b,"), "{sentence}");
}

#[test]
fn a_namespace_that_an_agent_is_in_and_this_kernel_shows_is_one_place() {
    let mut evidence = run(None, true);
    (evidence.local.host.boot, evidence.local.host.netns) = ("one".into(), 1);
    let found =
        PlaceTrace { name: "fw".into(), netns: 7, enter: Some("ip netns exec fw".into()), ..PlaceTrace::default() };
    evidence.local.places = vec![PlaceTrace { ports: crossed(Echo::Request, 2_000, 64), ..found }];
    let mut agent = via("fw", 7, crossed(Echo::Request, 2_000, 64));
    agent.trace.host.boot = "one".into();
    agent.trace.places[0].findings = vec![Finding::Setting { path: "net/ipv4/ip_forward".into(), value: "1".into() }];
    // The sender's own namespace, as that kernel shows it to the agent, is no place in between.
    agent.trace.places.push(PlaceTrace { netns: 1, ports: crossed(Echo::Request, 1_000, 64), ..PlaceTrace::default() });
    evidence.vias = vec![agent];
    let evidence = evidence.gathered();
    assert_eq!(evidence.places.iter().map(|place| place.netns).collect::<Vec<_>>(), [7]);
    assert_eq!((evidence.places[0].name.as_str(), evidence.places[0].findings.len()), ("fw", 1));
    let diagnosis = diagnose(&evidence);
    assert_eq!(way(&diagnosis, Echo::Request), ["a", "fw", "b"]);
    let off = diagnosis.notes.iter().any(|note| note.contains("saw none"));
    assert_eq!((off, diagnosis.vias[0].place.as_deref()), (false, Some("fw")), "{:?}", diagnosis.notes);
}

#[test]
fn hosts_of_one_name_are_told_apart_and_places_of_one_name_too() {
    let r1 = via("a", 1, crossed(Echo::Request, 7, 64));
    let mut r2 = via("a", 2, crossed(Echo::Request, 5, 63));
    (r2.trace.places[0].name, r2.trace.host.boot) = ("left".into(), "another".into());
    let mut r3 = via("r3", 3, crossed(Echo::Request, 3, 62));
    r3.trace.places.push(PlaceTrace {
        name: "left".into(),
        netns: 4,
        ports: crossed(Echo::Request, 99, 61),
        ..PlaceTrace::default()
    });
    let diagnosis = judged(run(None, true), vec![r1, r2, r3]);
    assert_eq!(names(&diagnosis), ["a", "a (--via 1)", "left", "r3", "left on r3", "b"]);
}

#[test]
fn places_beyond_the_bound_are_counted_and_those_that_nothing_met_go_first() {
    let many =
        (1..=17).map(|number: u8| via(&format!("r{number}"), number.into(), crossed(Echo::Request, 7, 64 - number)));
    let mut vias = vec![via("idle", 99, Vec::new())];
    vias.extend(many);
    let diagnosis = judged(run(None, true), vias);
    assert_eq!(diagnosis.places.len(), 2 + 16);
    assert!(!names(&diagnosis).contains(&"idle"));
    assert!(
        diagnosis.notes.contains(&"2 more places were watched than are listed".to_owned()),
        "{:?}",
        diagnosis.notes
    );
}
