//! Runs as firewalls of different kinds would make them, seen by four NICs, and what is said of each.

use std::time::Duration;

use probe_ebpf::hop::NIC_HOPS;
use proptest::prelude::*;

use super::*;
use crate::{
    middlebox::{
        experiment::{builtin, plan},
        timeline::{Delivery, EchoId, SendTime},
    },
    model::trace::{HopTrace, ProbePassage},
};

const NAMES: [&str; 4] = ["normal", "reply-only", "many-replies", "id-mismatch"];

const PLACES: [(&str, &str); 4] = [("a", "eth0"), ("fw", "a"), ("fw", "b"), ("b", "eth0")];

/// How many NICs what is to stop comes past in the lab.
const PASSED: usize = 2;

/// A run of an experiment past four NICs.
struct Seen {
    script: Script,
    plan: ExperimentPlan,
    run: PlayedTimeline,
    nics: [HostTrace; 4],
}

impl Seen {
    /// Counts each packet at the NICs of its path for which `counts` holds. `counts` gets the packet and the position
    /// of the NIC in the order in which packets of its sender pass them.
    fn of(name: &str, counts: impl Fn(&ExperimentPlan, usize, usize) -> bool) -> Self {
        let script = Script { repeat: 1, ..builtin::named(name).expect(name) };
        let mut id = 0x1000;
        let plan = plan::plan(&script, || {
            id += 1;
            id
        });
        let mut seen = Self {
            run: PlayedTimeline { deliveries: Vec::new(), clock_error: Duration::ZERO },
            nics: PLACES.map(|(_, interface)| nic(interface)),
            plan,
            script,
        };
        for packet in 0..seen.plan.timeline.packets.len() {
            seen.run.deliveries.push(Delivery {
                sent: SendTime::At(Duration::ZERO),
                left: Some(true),
                arrived: Vec::new(),
            });
            let from = seen.plan.timeline.packets[packet].from;
            let leg = if seen.plan.timeline.packets[packet].message == TimelinePacket::Request {
                Echo::Request
            } else {
                Echo::Reply
            };
            let places: Vec<usize> = (0..4).filter(|place| counts(&seen.plan, packet, *place)).collect();
            places.into_iter().for_each(|place| seen.count(packet, leg, from, place));
        }
        seen
    }

    fn count(&mut self, packet: usize, leg: Echo, from: Endpoint, place: usize) {
        let nic = if from == Endpoint::Near { place } else { 3 - place };
        let hop = if place.is_multiple_of(2) { Hop::TcOut } else { Hop::XdpIn };
        let Some(HopTrace::Watched { requests, replies }) = self.nics[nic].hops.get_mut(&hop) else {
            panic!("every hop is watched")
        };
        let seen = if leg == Echo::Request { requests } else { replies };
        seen.insert(u16::try_from(packet).expect("few"), ProbePassage { times: 1, ..ProbePassage::default() });
    }

    fn blind(mut self, nic: usize) -> Self {
        for hop in NIC_HOPS {
            self.nics[nic].hops.insert(hop, HopTrace::Blind { why: "not attached".into() });
        }
        self
    }

    fn way(&self) -> Way<'_> {
        let nics = PLACES.iter().zip(&self.nics).map(|((host, _), trace)| WayNic { host, trace });
        Way { script: &self.script, plan: &self.plan, run: &self.run, nics: nics.collect() }
    }

    fn line(&self, leg: Echo, id_name: &str) -> Option<Line> {
        self.way().lines().into_iter().find(|line| line.leg == leg && line.id_name == id_name)
    }

    fn differences(&self) -> Vec<String> {
        self.way().lines().iter().flat_map(|line| line.differences(PASSED)).collect()
    }

    /// Describes each stop in one text.
    fn stops(&self) -> Vec<String> {
        let describe = |line: &Line| -> Vec<String> {
            let text = |stop: WayStop| {
                assert_eq!(stop.confidence == Confidence::Certain, stop.blind.is_empty());
                let WayStop { host, packets, last_seen, first_missing, .. } = stop;
                format!("{packets} {} {host}: {last_seen} > {first_missing}", line.id_name)
            };
            line.stops().into_iter().map(text).collect()
        };
        self.way().lines().iter().flat_map(describe).collect()
    }
}

fn nic(interface: &str) -> HostTrace {
    let watched = || HopTrace::Watched { requests: BTreeMap::new(), replies: BTreeMap::new() };
    let mut trace = HostTrace { hops: NIC_HOPS.iter().map(|hop| (*hop, watched())).collect(), ..HostTrace::default() };
    interface.clone_into(&mut trace.host.interface);
    trace
}

/// Acts like the lab's firewall: requests of the near end pass, and replies that answer one.
fn by_design(plan: &ExperimentPlan, packet: usize, place: usize) -> bool {
    let packet = &plan.timeline.packets[packet];
    let passes = packet.from == Endpoint::Near || matches!(packet.id, EchoId::OfArrived(_));
    passes || place < PASSED
}

fn counts(line: &Line) -> Vec<usize> {
    line.nics().iter().map(|row| row.seen.len()).collect()
}

#[test]
fn what_is_expected_follows_from_the_steps() {
    let expected = |name: &str, leg, id_name: &str| {
        let seen = Seen::of(name, by_design);
        let line = seen.line(leg, id_name)?;
        Some([0, 1, 2, 3].map(|place| line.expected(place, PASSED).expect("the script says")))
    };
    assert_eq!(expected("normal", Echo::Request, "X"), Some([1; 4]));
    assert_eq!(expected("normal", Echo::Reply, "X"), Some([1; 4]));
    assert_eq!(expected("reply-only", Echo::Request, "X"), None);
    assert_eq!(expected("reply-only", Echo::Reply, "X"), Some([3, 3, 0, 0]));
    assert_eq!(expected("many-replies", Echo::Request, "X"), Some([1; 4]));
    assert_eq!(expected("many-replies", Echo::Reply, "X"), Some([5; 4]));
    assert_eq!(expected("id-mismatch", Echo::Reply, "Y"), Some([1, 1, 0, 0]));
    assert_eq!(expected("id-mismatch", Echo::Reply, "X"), Some([1; 4]));
    assert_eq!(expected("id-mismatch", Echo::Request, "Y"), None);
}

#[test]
fn a_designed_run_has_no_difference() {
    for name in NAMES {
        assert_eq!(Seen::of(name, by_design).differences(), [""; 0], "{name}");
    }
}

#[test]
fn only_what_nobody_asked_for_stops_and_it_stops_inside_the_firewall() {
    let stops = |name: &str| Seen::of(name, by_design).stops();
    let control = "1 N fw: fw:b (xdp_in) > fw:a (tc_out)";
    assert_eq!(stops("normal"), [control]);
    assert_eq!(stops("many-replies"), [control]);
    assert_eq!(stops("reply-only"), ["3 X fw: fw:b (xdp_in) > fw:a (tc_out)", control]);
    assert_eq!(stops("id-mismatch"), ["1 Y fw: fw:b (xdp_in) > fw:a (tc_out)", control]);
}

#[test]
fn a_step_stops_where_its_id_does() {
    let seen = Seen::of("reply-only", by_design);
    let stops: Vec<Vec<WayStop>> = (0..4).map(|step| seen.way().stops_of(step)).collect();
    assert_eq!(stops.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 1, 1]);
    assert_eq!((stops[2][0].packets, stops[2][0].host.as_str()), (3, "fw"));
}

#[test]
fn a_reply_that_leaks_through_is_a_difference_though_nothing_stops() {
    let leaked = Seen::of("reply-only", |_, _, _| true);
    assert_eq!(leaked.stops(), [""; 0]);
    let differences = leaked.differences().join("; ");
    assert!(differences.contains("a:eth0 (xdp_in) counted 3 of reply X instead of 0"), "{differences}");
}

#[test]
fn packets_that_nobody_planned_are_told() {
    let mut seen = Seen::of("many-replies", by_design);
    // B's kernel answers the request, which is packet 0, after all.
    seen.count(0, Echo::Reply, Endpoint::Far, 0);
    assert_eq!(seen.differences(), ["b:eth0 (tc_out) counted 6 of reply X instead of 5"]);
}

#[test]
fn what_was_sent_and_never_reached_the_interface_stops_in_the_sender() {
    let seen = Seen::of("reply-only", |_, _, _| false);
    let stop = &seen.line(Echo::Reply, "X").expect("a line").stops()[0];
    assert_eq!((stop.host.as_str(), stop.packets), ("b", 3));
    assert_eq!(stop.last_seen.to_string(), "b (send)");
    assert!(!seen.differences().is_empty());
}

#[test]
fn a_blind_checkpoint_is_never_as_designed_and_never_missing() {
    for name in NAMES {
        for (nic, (host, interface)) in PLACES.iter().enumerate() {
            let seen = Seen::of(name, by_design).blind(nic);
            let differences = seen.differences().join("; ");
            assert!(differences.contains("could not see"), "{differences}");
            let place = format!("{host}:{interface}");
            for stop in seen.way().lines().iter().flat_map(Line::stops) {
                assert!(stop.first_missing.place() != place && stop.last_seen.place() != place);
            }
        }
    }
}

#[test]
fn a_packet_passes_the_nics_in_the_order_of_its_way() {
    let drawn = |leg| {
        let line = Seen::of("normal", by_design).line(leg, "X").expect("a line");
        line.ledger.rows.iter().map(|row| row.step.to_string()).collect::<Vec<_>>().join(" > ")
    };
    assert_eq!(drawn(Echo::Request), "a (send) > a:eth0 (tc_out) > fw:a (xdp_in) > fw:b (tc_out) > b:eth0 (xdp_in)");
    assert_eq!(drawn(Echo::Reply), "b (send) > b:eth0 (tc_out) > fw:b (xdp_in) > fw:a (tc_out) > a:eth0 (xdp_in)");
}

#[test]
fn where_xdp_is_blind_tc_counts_what_enters() {
    let mut seen = Seen::of("normal", by_design);
    let hops = &mut seen.nics[1].hops;
    let counted = hops.insert(Hop::XdpIn, HopTrace::Blind { why: "taken".into() }).expect("it was watched");
    hops.insert(Hop::TcIn, counted);
    assert_eq!(seen.differences(), [""; 0]);
    let line = seen.line(Echo::Request, "X").expect("a line");
    assert_eq!((line.nics()[1].step.to_string().as_str(), counts(&line)), ("fw:a (tc_in)", vec![1; 4]));
}

#[test]
fn a_point_is_written_as_host_hop_and_interface() {
    let line = Seen::of("normal", by_design).line(Echo::Request, "X").expect("a line");
    let points: Vec<&WayPoint> = line.ledger.rows[..2].iter().map(|row| &row.step).collect();
    let json = serde_json::to_string(&points).expect("plain data");
    assert_eq!(json, r#"[{"host":"a","hop":"send"},{"host":"a","hop":"tc_out","interface":"eth0"}]"#);
}

#[test]
fn a_stop_is_written_with_what_was_blind_in_between() {
    let seen = Seen::of("normal", |_, _, place| place == 0).blind(1);
    let stop = &seen.line(Echo::Request, "X").expect("a line").stops()[0];
    let expected = serde_json::json!({
        "host": "network", "packets": 1,
        "last_seen": {"host": "a", "hop": "tc_out", "interface": "eth0"},
        "first_missing": {"host": "fw", "hop": "tc_out", "interface": "b"},
        "confidence": "likely",
        "blind": [{"host": "fw", "hop": "xdp_in", "interface": "a", "why": "not attached"}],
    });
    assert_eq!(serde_json::to_value(stop).expect("plain data"), expected);
}

proptest! {
    #[test]
    fn a_run_is_as_designed_exactly_when_every_count_is(
        which in 0usize..4, at in 0usize..4, packet in 0usize..6, there in any::<bool>(),
    ) {
        let packets = Seen::of(NAMES[which], by_design).plan.timeline.packets.len();
        let packet = packet % packets;
        let mut same = true;
        let seen = Seen::of(NAMES[which], |plan, number, place| {
            let designed = by_design(plan, number, place);
            if (number, place) == (packet, at) { there } else { designed }
        });
        same &= by_design(&seen.plan, packet, at) == there;
        prop_assert_eq!(seen.differences().is_empty(), same);
    }
}
