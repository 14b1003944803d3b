//! The very rule of chains below IP (`--trace-rules`): those of a bridge, and those at a device's ingress.

use serde_json::Value;

use super::{Routed, bridged::bridged, routed, stopped_in};
use crate::common::net::sh;

/// Runs it with and without a trace: only a trace can tell which of several rules it is.
fn only_a_trace_names(lab: &Routed, target: &str, leg: &str, layer: &str) {
    let without = lab.diagnosed(target, false);
    let stop = stopped_in(&without, &lab.router, leg, layer, "not traced");
    assert!(stop["cause"]["netfilter"].get("rule").is_none(), "more than one may be it: {stop:#}");
    assert!(stop["commands"].to_string().contains("--trace-rules"), "{stop:#}");
    let document = lab.diagnosed(&format!("{target} --trace-rules"), false);
    let stop = stopped_in(&document, &lab.router, leg, layer, target);
    let rule = stop["cause"]["netfilter"]["rule"].as_str().unwrap_or_default();
    assert!(rule.contains("this one"), "{stop:#}");
    let ended =
        |note: &Value| note.as_str().is_some_and(|note| note.contains("this one") && note.contains("ended 5 re"));
    let notes = document["notes"].as_array().expect("notes");
    assert_eq!(notes.iter().filter(|note| ended(note)).count(), 1, "{document:#}");
}

#[test]
fn the_rule_of_a_bridge_is_named_where_several_may_drop() {
    let Some(lab) = bridged("the_rule_of_a_bridge_is_named_where_several_may_drop") else { return };
    for (leg, kind) in [("request", "echo-request"), ("reply", "echo-reply")] {
        sh(
            &lab.router,
            &format!(
                "nft flush ruleset
                 nft -f - <<'END'
table bridge guard {{
    chain early {{
        type filter hook prerouting priority 0;
        meta mark 77 drop
    }}
    chain forward {{
        type filter hook forward priority 0;
        meta mark 77 drop
        icmp type {kind} drop comment \"this one\"
        icmpv6 type {kind} drop comment \"this one\"
    }}
}}
END"
            ),
        );
        for target in ["10.81.0.20", "fd81::20"] {
            only_a_trace_names(&lab, target, leg, "netfilter");
        }
    }
    nothing_is_left(&lab);
}

#[test]
fn the_rule_at_ingress_is_named_where_several_may_drop() {
    let Some(lab) = routed("the_rule_at_ingress_is_named_where_several_may_drop") else { return };
    for (leg, device, kind) in [("request", "eth0", "echo-request"), ("reply", "eth1", "echo-reply")] {
        sh(
            &lab.router,
            &format!(
                "nft flush ruleset
                 nft -f - <<'END'
table netdev guard {{
    chain ingress {{
        type filter hook ingress device {device} priority -600;
        meta mark 77 drop
        icmp type {kind} drop comment \"this one\"
        icmpv6 type {kind} drop comment \"this one\"
    }}
}}
END"
            ),
        );
        for target in super::B {
            only_a_trace_names(&lab, target, leg, "netfilter");
        }
    }
    nothing_is_left(&lab);
}

fn nothing_is_left(lab: &Routed) {
    let left = lab.router.command("nft").args(["list", "tables"]).output().expect("nft");
    assert!(!String::from_utf8_lossy(&left.stdout).contains("probe_trace"), "{left:?}");
}
