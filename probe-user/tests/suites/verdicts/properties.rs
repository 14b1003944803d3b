//! What holds for every run, whatever is blind in it.

use probe_ebpf::Echo;
use std::collections::BTreeMap;

use probe_ebpf::hop::HOPS;
use probe_user::{
    diagnosis::{
        Evidence, diagnose,
        document::{HopStatus, Layer, Outcome, Stop, StopHost},
        path::{PathStep, Side, Station, journey},
    },
    model::{attach::XdpAttachment, trace::Drop},
};
use proptest::{prelude::*, sample::subsequence};

use crate::common::fixture::{Event, Fixture, Lose, blind_hops, healthy, watched_hops};

fn names() -> Vec<String> {
    HOPS.iter().map(|row| row.name.to_owned()).collect()
}

/// Any hops of both hosts.
fn any_blind() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    let some = || subsequence(names(), 0..=HOPS.len());
    (some(), some()).prop_map(|(local, peer)| [("local".into(), local), ("peer".into(), peer)].into())
}

/// A run that is healthy so far, in one of its shapes.
fn any_run() -> impl Strategy<Value = Fixture> {
    (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop_oneof![Just(XdpAttachment::Native), Just(XdpAttachment::Generic)],
        1..12_u16,
    )
        .prop_map(|(v6, two_sided, raw_socket, xdp_mode, probes)| Fixture {
            family: if v6 { 6 } else { 4 },
            two_sided,
            raw_socket,
            xdp_mode,
            probes,
            ..healthy()
        })
}

fn word(step: &PathStep) -> String {
    let leg = if step.leg == Echo::Request { "request" } else { "reply" };
    let side = if step.checkpoint.host == Side::Local { "local" } else { "peer" };
    format!("{leg} {side} {}", step.checkpoint.station.name())
}

fn index_of(steps: &[PathStep], leg: Echo, station: Station, side: Side) -> Option<usize> {
    steps.iter().position(|step| step.leg == leg && step.checkpoint.station == station && step.checkpoint.host == side)
}

/// Drop events about other people's packets, or benign ones about ours.
fn noise(evidence: &Evidence) -> Vec<Drop> {
    let event = |probe, leg, reason: &str, function: &str| Drop {
        time_ns: 5,
        probe,
        leg,
        id: 9,
        seq: 9,
        reason: reason.into(),
        function: function.into(),
        stack: vec!["nf_hook_slow".into(), "ip_local_deliver".into()],
        interface: None,
        source: evidence.target.address,
        destination: evidence.target.address,
        frame: probe_user::model::trace::FrameFacts::default(),
    };
    vec![
        event(None, Echo::Request, "NETFILTER_DROP", "nft_do_chain"),
        event(None, Echo::Reply, "IP_RPFILTER", "ip_rcv_finish_core"),
        event(Some(0), Echo::Reply, "NO_SOCKET", "ping_rcv"),
        event(Some(0), Echo::Request, "CONSUMED", "icmp_rcv"),
        event(Some(0), Echo::Reply, "QUEUE_PURGE", "inet_sock_destruct"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn healthy_runs_are_never_accused(run in any_run(), blind in any_blind()) {
        let diagnosis = diagnose(&Fixture { blind, ..run }.evidence());
        prop_assert_eq!(diagnosis.verdict.outcome, Outcome::Delivered);
        prop_assert!(diagnosis.stops.is_empty(), "{:?}", diagnosis.stops);
    }

    #[test]
    fn a_stop_is_where_the_packets_were_taken(
        run in any_run(),
        blind in any_blind(),
        where_to in any::<prop::sample::Index>(),
        which in subsequence((0..12_u16).collect::<Vec<_>>(), 1..12),
    ) {
        let full = Fixture { two_sided: true, ..healthy_like(&run) }.evidence();
        let steps = journey(&full);
        let musts = watched_hops(&full);
        let taken = musts[where_to.index(musts.len())];
        let lost: Vec<u16> = which.into_iter().filter(|probe| *probe < run.probes).collect();
        let lose = Lose { before: word(&taken), probes: Some(lost.clone()), event: None, errno: None, icmp: None };
        let run = Fixture { lose: vec![lose], blind, ..run };
        let evidence = run.evidence();
        let diagnosis = diagnose(&evidence);
        let total: usize = diagnosis.stops.iter().map(|stop| stop.packets).sum();
        prop_assert_eq!(total, lost.len(), "every lost packet stops somewhere, and no other");
        for stop in &diagnosis.stops {
            let at = |leg, checkpoint: probe_user::diagnosis::path::Checkpoint| {
                index_of(&steps, leg, checkpoint.station, checkpoint.host)
            };
            let taken_at = index_of(&steps, taken.leg, taken.checkpoint.station, taken.checkpoint.host);
            let legs = [Echo::Request, Echo::Reply];
            let before = legs.iter().filter_map(|leg| at(*leg, stop.last_seen)).any(|last| Some(last) < taken_at);
            let behind = legs.iter().filter_map(|leg| at(*leg, stop.first_missing)).any(|first| Some(first) >= taken_at);
            prop_assert!(before && behind, "taken before {}, told {:?}", word(&taken), stop);
            let blind = blind_hops(&evidence, stop.first_missing.host);
            prop_assert!(!blind.contains(stop.first_missing.station.name()));
        }
    }

    #[test]
    fn a_drop_event_names_the_place_whatever_is_blind(run in any_run(), blind in any_blind()) {
        let stack = ["nf_hook_slow", "ip_local_deliver"].map(str::to_owned).into();
        let event = Event { reason: "NETFILTER_DROP".into(), function: "nft_do_chain".into(), stack, frame: None };
        let before = "request peer nf_input_last".to_owned();
        let lose = vec![Lose { before, probes: None, event: Some(event), errno: None, icmp: None }];
        let diagnosis = diagnose(&Fixture { two_sided: true, lose, blind, ..run }.evidence());
        let hook = |stop: &Stop| stop.cause.netfilter.as_ref().and_then(|place| place.hook);
        prop_assert_eq!(diagnosis.stops.len(), 1);
        let stop = &diagnosis.stops[0];
        prop_assert_eq!((stop.leg, stop.host, stop.layer), (Echo::Request, StopHost::Peer, Layer::Netfilter));
        prop_assert_eq!(hook(stop), Some(probe_user::model::netfilter::NetfilterHook::Input));
    }

    #[test]
    fn a_blind_hop_is_never_called_missing(run in any_run(), blind in any_blind()) {
        let evidence = Fixture { blind, ..run }.evidence();
        for hop in diagnose(&evidence).hops {
            let blind = blind_hops(&evidence, hop.checkpoint.host).contains(hop.checkpoint.station.name());
            prop_assert_eq!(hop.state == HopStatus::Blind, blind, "{:?}", hop);
        }
    }

    #[test]
    fn other_peoples_drops_change_nothing(run in any_run(), blind in any_blind(), order in any::<prop::sample::Index>()) {
        let quiet = Fixture { blind, ..run }.evidence();
        let mut loud = quiet.clone();
        let mut more = noise(&quiet);
        let count = more.len();
        more.rotate_left(order.index(count));
        let spread = order.index(loud.local.drops.len() + 1);
        loud.local.drops.splice(spread..spread, more.clone());
        if let Some(peer) = &mut loud.peer {
            more.retain(|drop| drop.probe.is_none());
            peer.drops.extend(more);
        }
        prop_assert_eq!(diagnose(&quiet).verdict, diagnose(&loud).verdict);
    }
}

/// The same shape, for the whole way of its packets.
fn healthy_like(run: &Fixture) -> Fixture {
    Fixture { family: run.family, probes: run.probes, xdp_mode: run.xdp_mode, ..healthy() }
}
