//! What a diagnosis says of itself: what it cost, and what it lost.

use super::{
    diagnosed::{acquitted, diagnosed, diagnosed_under},
    noise::drop_requests,
};
use crate::common::{
    self,
    net::{B4, B6, Pair},
};

/// The smallest ring that the kernel takes: one page, some twenty events.
const TINY_RING: (&str, &str) = ("PROBE_DROP_RING_BYTES", "4096");

#[test]
fn a_ring_that_overflows_costs_confidence_and_no_truth() {
    if !common::is_root("a_ring_that_overflows_costs_confidence_and_no_truth") {
        return;
    }
    let pair = Pair::new();
    drop_requests(&pair.b, "icmp type echo-request");
    let words = format!("{B4} -c 200 -i 0 --format json");
    let ran = diagnosed_under(&pair, &words, &[TINY_RING]);
    let document = ran.json();
    assert_eq!(ran.code, 1, "{document:#}");
    let (verdict, stop) = (&document["verdict"], &document["stops"][0]);
    assert_eq!((&verdict["outcome"], &verdict["confidence"]), (&"stopped".into(), &"likely".into()), "{verdict}");
    assert_eq!(document["stops"].as_array().map(Vec::len), Some(1), "{document:#}");
    for (field, value) in [("host", "peer"), ("layer", "netfilter"), ("leg", "request"), ("confidence", "likely")] {
        assert_eq!(stop[field], value, "{stop:#}");
    }
    let (events, lost) = (stop["drop_events"].as_u64(), document["accounting"]["events_lost"].as_u64());
    let (events, lost) = (events.expect("a number"), lost.expect("a number"));
    // Every drop was reported or is counted as lost; the counters have them all.
    assert!(events > 0 && lost > 0 && events + lost == 200, "{events} told, {lost} lost");
    assert_eq!(stop["packets"], 200);
    assert_eq!(document["accounting"]["peer"]["events_lost"], lost);
    assert_eq!(document["accounting"]["local"]["events_lost"], 0);

    let text = diagnosed_under(&pair, &format!("{B4} -c 200 -i 0"), &[TINY_RING]).stdout;
    assert!(text.contains("drop events were lost: counters are complete"), "{text}");
    assert!(text.contains("likely, not certain"), "{text}");
}

#[test]
fn with_room_for_all_events_the_same_stop_is_certain() {
    if !common::is_root("with_room_for_all_events_the_same_stop_is_certain") {
        return;
    }
    let pair = Pair::new();
    drop_requests(&pair.b, "icmp type echo-request");
    let document = diagnosed(&pair, &format!("{B4} -c 200 -i 0 --format json")).json();
    assert_eq!(document["verdict"]["confidence"], "certain", "{document:#}");
    assert_eq!(document["accounting"]["events_lost"], 0, "{document:#}");
}

#[test]
fn what_watching_cost_is_measured_at_both_ends() {
    if !common::is_root("what_watching_cost_is_measured_at_both_ends") {
        return;
    }
    let pair = Pair::new();
    let document = acquitted("costs", &diagnosed(&pair, &format!("{B6} -W 10 --format json")), 10);
    let cost = |side: &str, what: &str| document["accounting"][side][what].as_u64().expect("a number");
    for side in ["local", "peer"] {
        assert!(cost(side, "bpf_ns_per_packet") > 0 && cost(side, "attach_ms") > 0, "{}", document["accounting"]);
    }
    let sum = cost("local", "bpf_ns_per_packet") + cost("peer", "bpf_ns_per_packet");
    assert_eq!(document["accounting"]["bpf_ns_per_packet"], sum);

    let quiet = diagnosed(&pair, &format!("{B4} -c 2 -W 10")).done().stdout;
    let verbose = diagnosed(&pair, &format!("{B4} -c 2 -W 10 -v")).done().stdout;
    assert!(!quiet.contains("cost "), "{quiet}");
    let costs = verbose.lines().skip_while(|line| !line.starts_with("  cost ")).collect::<Vec<_>>().join(" ");
    assert!(costs.contains("this host: attached in") && costs.contains("the peer: attached in"), "{verbose}");
}
