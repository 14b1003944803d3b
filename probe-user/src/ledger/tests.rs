//! Where a path stops, on plain counts: by example, and for every count that there can be.

use probe_ebpf::Hop;
use proptest::prelude::*;

use super::*;
use crate::path::Place;

/// Four interfaces of three hosts, begun by the sending call.
fn path(leg: Leg) -> Path {
    let place =
        |(host, interface): (&str, &str)| Place { host: host.into(), interface: interface.into(), ingress: Hop::XdpIn };
    Path::over(leg, &[("a", "eth0"), ("fw", "a"), ("fw", "b"), ("b", "eth0")].map(place)).from_send()
}

fn ledger(sights: &[Option<u64>]) -> Ledger {
    let sight = |packets: &Option<u64>| packets.map_or_else(|| Sight::Blind("not attached".into()), Sight::counted);
    Ledger::new(path(Leg::Request), sights.iter().map(sight))
}

/// One line for each stop: `packets: last > first (blind between)`.
fn told(ledger: &Ledger) -> Vec<String> {
    let line = |stop: &Stop| {
        let blind: Vec<_> = stop.blind.iter().map(|(checkpoint, _)| checkpoint.place()).collect();
        format!("{}: {} > {} [{}]", stop.packets, stop.last_seen, stop.first_missing, blind.join(" "))
    };
    ledger.stops().iter().map(line).collect()
}

#[test]
fn a_healthy_path_has_no_stop() {
    assert_eq!(told(&ledger(&[Some(5); 5])), [""; 0]);
    assert_eq!(told(&ledger(&[Some(0); 5])), [""; 0]);
}

#[test]
fn the_stop_lies_between_the_last_that_saw_and_the_first_that_did_not() {
    let stopped = ledger(&[Some(3), Some(3), Some(3), Some(0), Some(0)]);
    assert_eq!(told(&stopped), ["3: fw:a (xdp_in) > fw:b (tc_out) []"]);
    let stop = &stopped.stops()[0];
    assert_eq!((stop.host(), stop.layer(), stop.confidence()), ("fw", Some(Layer::Path), Confidence::Certain));
}

#[test]
fn packets_that_leave_one_host_and_do_not_enter_the_next_stop_in_the_network() {
    let stop = &ledger(&[Some(1), Some(1), Some(0), Some(0), Some(0)]).stops()[0];
    assert_eq!((stop.host(), stop.layer()), ("network", Some(Layer::Path)));
}

#[test]
fn packets_that_were_sent_and_reach_no_interface_stop_in_the_sender_in_a_layer_that_counts_cannot_tell() {
    let stop = &ledger(&[Some(2), Some(0), Some(0), Some(0), Some(0)]).stops()[0];
    assert_eq!((stop.host(), stop.layer(), stop.packets), ("a", None, 2));
}

#[test]
fn losses_at_several_places_are_told_apart_and_the_largest_comes_first() {
    let lossy = ledger(&[Some(10), Some(10), Some(9), Some(4), Some(4)]);
    assert_eq!(told(&lossy), ["5: fw:a (xdp_in) > fw:b (tc_out) []", "1: a:eth0 (tc_out) > fw:a (xdp_in) []"]);
}

#[test]
fn a_stop_across_something_blind_names_it_and_is_less_sure() {
    let dim = ledger(&[Some(1), Some(1), None, None, Some(0)]);
    assert_eq!(told(&dim), ["1: a:eth0 (tc_out) > b:eth0 (xdp_in) [fw:a fw:b]"]);
    assert_eq!(dim.stops()[0].confidence(), Confidence::Likely);
}

#[test]
fn a_path_that_ends_blind_accuses_nobody() {
    assert_eq!(told(&ledger(&[Some(1), Some(1), None, None, None])), [""; 0]);
}

#[test]
fn what_arrives_was_not_lost_on_the_way_whatever_a_checkpoint_between_counted() {
    assert_eq!(told(&ledger(&[Some(5), Some(5), Some(3), Some(0), Some(5)])), [""; 0]);
}

#[test]
fn a_missing_count_is_blind_not_missing() {
    let short = Ledger::new(path(Leg::Request), [Sight::Seen(1)]);
    assert!(short.rows[1..].iter().all(|row| matches!(row.sight, Sight::Blind(_))));
    assert_eq!(short.stops(), []);
}

#[test]
fn a_stop_is_written_as_the_contract_says() {
    let stop = &ledger(&[Some(1), Some(1), None, Some(0), Some(0)]).stops()[0];
    let json = serde_json::to_value(stop).expect("plain data");
    let expected = serde_json::json!({
        "leg": "request", "host": "network", "layer": "path", "packets": 1,
        "last_seen": {"host": "a", "hop": "tc_out", "interface": "eth0"},
        "first_missing": {"host": "fw", "hop": "tc_out", "interface": "b"},
        "confidence": "likely", "witnesses": ["counters"],
        "blind": [{"host": "fw", "hop": "xdp_in", "interface": "a", "why": "not attached"}],
    });
    assert_eq!(json, expected);
}

/// Counts of five checkpoints, some of them blind.
fn any_counts() -> impl Strategy<Value = Vec<Option<u64>>> {
    prop::collection::vec(prop::option::weighted(0.7, 0u64..6), 5)
}

proptest! {
    #[test]
    fn no_stop_where_everything_that_was_sent_arrives(
        sent in 0u64..9, between in prop::collection::vec(prop::option::of(0u64..9), 3),
    ) {
        let mut counts = vec![Some(sent)];
        counts.extend(between.into_iter().map(|count| count.map(|count| count.min(sent))));
        counts.push(Some(sent));
        prop_assert_eq!(told(&ledger(&counts)), [""; 0]);
    }

    #[test]
    fn one_break_is_found_between_its_watched_neighbours(
        sent in 1u64..9, broken in 1usize..5, blind in prop::collection::vec(any::<bool>(), 5),
    ) {
        let count = |index: usize| (!blind[index]).then_some(if index < broken { sent } else { 0 });
        let counts: Vec<_> = (0..5).map(count).collect();
        let before = (0..broken).rev().find(|index| !blind[*index]);
        let after = (broken..5).find(|index| !blind[*index]);
        let ledger = ledger(&counts);
        let stops = ledger.stops();
        match (before, after) {
            (Some(before), Some(after)) => {
                prop_assert_eq!(stops.len(), 1);
                prop_assert_eq!(&stops[0].last_seen, &ledger.rows[before].checkpoint);
                prop_assert_eq!(&stops[0].first_missing, &ledger.rows[after].checkpoint);
                prop_assert_eq!(stops[0].packets, sent);
                prop_assert_eq!(stops[0].blind.len(), after - before - 1);
            }
            _ => prop_assert_eq!(stops, []),
        }
    }

    #[test]
    fn every_stop_joins_a_checkpoint_that_saw_more_to_one_that_saw_less(counts in any_counts()) {
        let ledger = ledger(&counts);
        let at = |checkpoint: &Checkpoint| {
            ledger.rows.iter().position(|row| row.checkpoint == *checkpoint).expect("a row")
        };
        for stop in ledger.stops() {
            let (last, first) = (at(&stop.last_seen), at(&stop.first_missing));
            prop_assert!(last < first);
            let (before, after) = (counts[last].expect("not blind"), counts[first].expect("not blind"));
            prop_assert!(before >= after + stop.packets && stop.packets > 0);
            prop_assert!(counts[last + 1..first].iter().all(Option::is_none));
            prop_assert_eq!(stop.blind.len(), first - last - 1);
        }
    }

    #[test]
    fn the_stops_add_up_to_what_is_lost_from_end_to_end(counts in any_counts()) {
        let watched: Vec<u64> = counts.iter().copied().flatten().collect();
        let lost = watched.iter().max().copied().unwrap_or(0) - watched.last().copied().unwrap_or(0);
        let told: u64 = ledger(&counts).stops().iter().map(|stop| stop.packets).sum();
        prop_assert_eq!(told, lost);
    }

    #[test]
    fn going_blind_never_adds_packets_to_what_is_lost(
        counts in prop::collection::vec(0u64..6, 5), eyes in prop::collection::vec(any::<bool>(), 5),
    ) {
        let lost = |counts: &[Option<u64>]| ledger(counts).stops().iter().map(|stop| stop.packets).sum::<u64>();
        // Without duplicates no checkpoint counts more than the one before it.
        let falling: Vec<_> = (1..=counts.len()).map(|end| *counts[..end].iter().min().expect("one")).collect();
        let bright: Vec<_> = falling.iter().copied().map(Some).collect();
        let dim: Vec<_> = falling.iter().zip(&eyes).map(|(count, open)| open.then_some(*count)).collect();
        prop_assert!(lost(&dim) <= lost(&bright));
    }
}
