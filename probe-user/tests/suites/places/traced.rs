//! The very rule at other places than the sender's own namespace (`--trace-rules`): behind a NAT, on either leg, by an agent.

use serde_json::Value;

use super::{B, Routed, entered, routed, stopped_in};
use crate::common::{
    net::sh,
    run::{Ran, command},
};

/// Two rules of a chain that is jumped to may drop, of which the first does: only a trace can tell.
const RULES: &str = "nft -f - <<'END'
table inet nat {
    chain post {
        type nat hook postrouting priority srcnat;
        oifname eth1 masquerade
    }
}
table inet filter {
    chain sub {
        icmp type KIND drop comment \"this one\"
        icmpv6 type KIND drop comment \"this one\"
        meta mark 77 meta l4proto { icmp, icmpv6 } drop
    }
    chain forward {
        type filter hook forward priority 0;
        jump sub
    }
}
END";

/// Asserts that the one rule that dropped all five is told, as the cause and with its packets.
fn names_the_rule(document: &Value, stop: &Value, kind: &str, what: &str) {
    let rule = stop["cause"]["netfilter"]["rule"].as_str().unwrap_or_default();
    assert!(rule.contains(kind) && rule.contains("this one"), "{what}: {stop:#}");
    assert_eq!(stop["cause"]["netfilter"]["chain"], "forward", "{what}: {stop:#}");
    let detail = stop["cause"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("in chain sub (handle "), "{what}: {detail}");
    let notes = document["notes"].as_array().expect("notes").iter().filter_map(Value::as_str);
    let ended = notes.filter(|note| note.contains("the rule \"") && note.contains("ended 5 re")).count();
    assert_eq!(ended, 1, "{what}: {document:#}");
    let commands = stop["commands"].to_string();
    assert!(!commands.contains("--trace-rules"), "it was traced: {what}: {commands}");
}

fn set(lab: &Routed, kind: &str) {
    sh(&lab.router, &format!("nft flush ruleset\n{}", RULES.replace("KIND", kind)));
}

#[test]
fn the_rule_of_another_namespace_is_named_though_its_nat_rewrites_the_packets() {
    let Some(lab) = routed("the_rule_of_another_namespace_is_named") else { return };
    for (leg, kind) in [("request", "echo-request"), ("reply", "echo-reply")] {
        set(&lab, kind);
        let without = lab.diagnosed(B[0], false);
        let stop = stopped_in(&without, &lab.router, leg, "netfilter", "not traced");
        assert!(stop["cause"]["netfilter"].get("rule").is_none(), "more than one may be it: {stop:#}");
        assert!(stop["commands"].to_string().contains("--trace-rules"), "{stop:#}");
        for target in B {
            let document = lab.diagnosed(&format!("{target} --trace-rules"), false);
            let stop = stopped_in(&document, &lab.router, leg, "netfilter", target);
            names_the_rule(&document, &stop, kind, target);
        }
    }
    let left = lab.router.command("nft").args(["list", "tables"]).output().expect("nft");
    assert!(!String::from_utf8_lossy(&left.stdout).contains("probe_trace"), "{left:?}");
}

#[test]
fn the_rule_on_a_router_is_named_by_its_agent_behind_the_senders_nat() {
    let Some(lab) = routed("the_rule_on_a_router_is_named_by_its_agent") else { return };
    set(&lab, "echo-request");
    // Packets come to the router with another source than the sender's own.
    sh(
        &lab.a,
        "ip addr add 10.81.0.11/24 dev eth0
         nft 'add table ip nat; add chain ip nat post { type nat hook postrouting priority srcnat; }'
         nft 'add rule ip nat post oifname \"eth0\" snat to 10.81.0.11'",
    );
    for flag in ["--via", "--peer"] {
        let mut command =
            command(&lab.a, &format!("diagnose {} -c 5 --format json --trace-rules --own-namespace {flag}", B[0]));
        command.arg(format!("{} {} agent", entered(&lab.router), env!("CARGO_BIN_EXE_probe")));
        let document = Ran::of(command.output().expect("probe starts")).json();
        let stops = document["stops"].as_array().expect("stops");
        assert_eq!((stops.len(), &stops[0]["host"]), (1, &"via".into()), "{flag}: {document:#}");
        names_the_rule(&document, &stops[0], "echo-request", flag);
    }
}
