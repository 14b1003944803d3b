//! Faults as people report them: what the far end is told of replies, whom a mark leads to, a target that sends on what comes for
//! it, what a target's own counters say, and which rule can have been it.

use serde_json::Value;

use super::{B, Routed, routed, stopped_in};
use crate::common::{
    net::sh,
    run::{Ran, command},
};

/// A diagnosis that does not wait long for what will not come.
fn diagnosed(lab: &Routed, words: &str) -> Value {
    lab.diagnosed(&format!("{words} -W 0.4 --no-controls"), false)
}

fn detail(document: &Value) -> &str {
    document["stops"][0]["cause"]["detail"].as_str().unwrap_or_else(|| panic!("{document:#}"))
}

#[test]
fn what_a_router_says_of_replies_is_heard_at_the_far_end() {
    let Some(lab) = routed("what_a_router_says_of_replies_is_heard_at_the_far_end") else { return };
    sh(
        &lab.router,
        "nft add table inet t && nft 'add chain inet t f { type filter hook forward priority 0; }'
         nft add rule inet t f icmp type echo-reply reject with icmpx type admin-prohibited
         nft add rule inet t f icmpv6 type echo-reply reject with icmpx type admin-prohibited",
    );
    // What the far end's own chain drops was heard all the same.
    sh(
        &lab.b,
        "nft add table inet t && nft 'add chain inet t i { type filter hook input priority 0; }'
         nft add rule inet t i icmp type destination-unreachable drop
         nft add rule inet t i icmpv6 type destination-unreachable drop",
    );
    for (target, router, reason) in [(B[0], "10.82.0.1", "icmp 3/13"), (B[1], "fd82::1", "icmpv6 1/1")] {
        let mut command =
            command(&lab.a, &format!("diagnose {target} -c 3 -W 0.4 --no-controls --own-namespace --format json"));
        command.arg("--peer").arg(format!("{} {} agent", super::entered(&lab.b), env!("CARGO_BIN_EXE_probe")));
        let document = Ran::of(command.output().expect("probe starts")).json();
        let stop = &document["stops"][0];
        assert_eq!((&stop["leg"], &stop["host"]), (&"reply".into(), &"network".into()), "{document:#}");
        assert_eq!((&stop["cause"]["reason"], &stop["cause"]["icmp"]["from"]), (&reason.into(), &router.into()));
        let commands = stop["commands"].as_array().expect("commands");
        assert!(commands.iter().all(|command| command["on"] == "peer"), "{commands:?}");
    }
}

#[test]
fn packets_that_wait_for_the_gateway_of_a_mark_are_told_with_that_one() {
    let Some(lab) = routed("packets_that_wait_for_the_gateway_of_a_mark_are_told_with_that_one") else { return };
    sh(&lab.a, "ip route add default via 10.81.0.77 table 100 && ip rule add fwmark 1 lookup 100");
    let document = diagnosed(&lab, &format!("-m 1 {}", B[0]));
    let neighbour = &document["stops"][0]["cause"]["neighbour"];
    assert_eq!((&neighbour["address"], &neighbour["finding"]), (&"10.81.0.77".into(), &"gateway_gone".into()));
    assert!(detail(&document).contains("rule \"32765: from all fwmark 0x1 lookup 100\""), "{document:#}");
}

#[test]
fn a_target_that_sends_on_what_comes_for_it_is_a_router() {
    let Some(lab) = routed("a_target_that_sends_on_what_comes_for_it_is_a_router") else { return };
    sh(
        &lab.b,
        "ip link add docker0 type bridge && ip addr add 172.17.0.1/16 dev docker0 && ip link set docker0 up
         sysctl -qw net.ipv4.ip_forward=1 && nft add table ip n
         nft 'add chain ip n p { type nat hook prerouting priority -100; }'
         nft add rule ip n p icmp type echo-request dnat to 172.17.0.2",
    );
    let document = diagnosed(&lab, B[0]);
    let stop = &document["stops"][0];
    assert_eq!((&stop["host"], &stop["leg"]), (&"via".into(), &"request".into()), "{document:#}");
    assert!(matches!(stop["layer"].as_str(), Some("neighbour" | "driver")), "{stop:#}");
    let sentence = document["verdict"]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("(a router on this host)"), "{sentence}");
}

#[test]
fn a_target_that_nobody_watches_tells_by_its_counters_what_kept_it_from_answering() {
    let Some(lab) = routed("a_target_that_nobody_watches_tells_by_its_counters_what_kept_it_from_answering") else {
        return;
    };
    sh(&lab.b, "ip xfrm policy add src 10.82.0.20 dst 10.81.0.0/24 dir out action block");
    let document = diagnosed(&lab, B[0]);
    let stop = &document["stops"][0];
    assert_eq!((&stop["host"], &stop["cause"]["reason"]), (&"via".into(), &"Xfrm.OutPolBlock".into()), "{document:#}");
}

#[test]
fn rules_for_other_devices_are_not_accused() {
    let Some(lab) = routed("rules_for_other_devices_are_not_accused") else { return };
    sh(
        &lab.router,
        "nft add table ip t && nft 'add chain ip t f { type filter hook forward priority 0; policy drop; }'
         nft add rule ip t f iifname docker0 counter drop && nft add rule ip t f oifname 'br-*' counter drop
         nft add rule ip t f iifname docker0 accept",
    );
    let stop = stopped_in(&diagnosed(&lab, B[0]), &lab.router, "request", "netfilter", "forward");
    assert_eq!(stop["cause"]["netfilter"]["rule"], "policy drop", "{stop:#}");
    sh(&lab.router, "nft add rule ip t f iifname eth0 oifname eth1 icmp type echo-request counter drop");
    sh(&lab.router, "nft chain ip t f '{ policy accept; }'");
    let stop = stopped_in(&diagnosed(&lab, B[0]), &lab.router, "request", "netfilter", "forward");
    let rule = stop["cause"]["netfilter"]["rule"].as_str().expect("one rule");
    assert!(rule.starts_with("iifname \"eth0\" oifname \"eth1\""), "{rule}");
}
