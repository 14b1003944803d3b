//! Netfilter's hooks of a router in between: each is a hop of the path, with its count, and what stops between its two ends
//! is proven by absence.

use serde_json::Value;

use super::{B, DROP, routed, stopped_in};
use crate::common::net::sh;

/// What a document says of the hops of the router on a leg: name and count, in path order.
fn of_router(document: &Value, leg: &str) -> Vec<(String, u64)> {
    let hops = document["hops"].as_array().expect("hops").iter();
    let here = hops.filter(|hop| hop["host"] == "via" && hop["leg"] == leg);
    let router = document["places"][1]["name"].clone();
    let here = here.filter(|hop| hop["place"] == router);
    here.map(|hop| (hop["hop"].as_str().expect("a hop").to_owned(), hop["packets"].as_u64().expect("a count")))
        .collect()
}

/// The router's hops in the order of the kernel.
const ROUTED: [&str; 9] = [
    "netif_in",
    "nf_prerouting_first",
    "nf_prerouting_last",
    "nf_forward_first",
    "nf_forward_last",
    "nf_postrouting_first",
    "nf_postrouting_last",
    "dev_queue",
    "xmit",
];

const MASQUERADE: &str = "nft -f - <<'END'
table inet nat {
    chain post {
        type nat hook postrouting priority 100;
        oifname eth1 masquerade
    }
}
END";

#[test]
fn each_hook_of_a_healthy_router_is_a_hop_and_nat_is_told_where_it_happens() {
    let Some(lab) = routed("each_hook_of_a_healthy_router_is_a_hop_and_nat_is_told_where_it_happens") else { return };
    sh(&lab.router, MASQUERADE);
    for (target, own) in B.into_iter().zip(["10.82.0.1", "fd82::1"]) {
        let document = lab.diagnosed(target, false);
        assert_eq!(document["verdict"]["outcome"], "delivered", "{target}: {document:#}");
        for leg in ["request", "reply"] {
            let expected: Vec<(String, u64)> = ROUTED.iter().map(|hop| ((*hop).to_owned(), 5)).collect();
            assert_eq!(of_router(&document, leg), expected, "{target}, {leg}");
        }
        let changes = document["alterations"].as_array().expect("alterations");
        let at = |leg: &str, field: &str, hook: &str| {
            changes.iter().find(|change| {
                let place = change["place"].as_str().expect("a place");
                change["leg"] == leg && change["field"] == field && place.ends_with(&format!("in hook {hook}"))
            })
        };
        let out = at("request", "source", "postrouting").expect("masqueraded");
        assert_eq!((&out["seen"], &out["packets"]), (&own.into(), &5.into()), "{target}: {out}");
        let back = at("reply", "destination", "prerouting").expect("undone");
        assert_eq!((&back["sent"], &back["packets"]), (&own.into(), &5.into()), "{target}: {back}");
    }
}

#[test]
fn what_a_chain_of_the_router_drops_is_missing_between_the_two_ends_of_its_hook() {
    let Some(lab) = routed("what_a_chain_of_the_router_drops_is_missing_between_the_two_ends_of_its_hook") else {
        return;
    };
    for (hook, target) in [("prerouting", B[1]), ("forward", B[0]), ("postrouting", B[1])] {
        let rule = "icmp type echo-request drop\n icmpv6 type echo-request drop";
        sh(&lab.router, &DROP.replace("forward", hook).replace("RULE", rule));
        let document = lab.diagnosed(target, false);
        let stop = stopped_in(&document, &lab.router, "request", "netfilter", hook);
        let hops = (stop["last_seen"]["hop"].clone(), stop["first_missing"]["hop"].clone());
        assert_eq!(hops, (format!("nf_{hook}_first").into(), format!("nf_{hook}_last").into()), "{target}: {stop:#}");
        assert_eq!(stop["cause"]["netfilter"]["hook"], hook, "{target}: {stop:#}");
        sh(&lab.router, "nft flush ruleset");
    }
}

#[test]
fn a_policy_and_what_connection_tracking_calls_invalid_are_the_forward_chains() {
    let Some(lab) = routed("a_policy_and_what_connection_tracking_calls_invalid_are_the_forward_chains") else {
        return;
    };
    let policy = DROP.replace("priority 0;", "priority 0; policy drop;").replace("RULE", "tcp dport 22 accept");
    sh(&lab.router, &policy);
    let stop = stopped_in(&lab.diagnosed(B[0], false), &lab.router, "request", "netfilter", "policy");
    assert_eq!(stop["cause"]["netfilter"]["rule"], "policy drop", "{stop:#}");
    sh(&lab.router, "nft flush ruleset");
    // The request is not tracked, so its reply belongs to nothing.
    sh(
        &lab.router,
        "nft add table ip raw
         nft add chain ip raw early '{ type filter hook prerouting priority -300; }'
         nft add rule ip raw early icmp type echo-request notrack",
    );
    sh(&lab.router, &DROP.replace("RULE", "ct state invalid drop"));
    let stop = stopped_in(&lab.diagnosed(B[0], false), &lab.router, "reply", "netfilter", "invalid");
    assert_eq!(stop["cause"]["netfilter"]["rule"], "ct state invalid drop", "{stop:#}");
}

#[test]
fn a_rewritten_destination_and_a_route_by_source_are_looked_up_as_the_router_does() {
    let Some(lab) = routed("a_rewritten_destination_and_a_route_by_source_are_looked_up_as_the_router_does") else {
        return;
    };
    sh(
        &lab.router,
        "nft add table ip nat
         nft add chain ip nat early '{ type nat hook prerouting priority -100; }'
         nft add rule ip nat early ip daddr 10.82.0.20 dnat to 10.82.0.77",
    );
    let stop = stopped_in(&lab.diagnosed(B[0], false), &lab.router, "request", "neighbour", "dnat");
    assert_eq!(stop["cause"]["neighbour"]["address"], "10.82.0.77", "{stop:#}");
    sh(&lab.router, "nft flush ruleset");
    sh(&lab.router, "ip rule add from 10.81.0.10 table 77 pref 100 && ip route add default via 10.82.0.66 table 77");
    let stop = stopped_in(&lab.diagnosed(B[0], false), &lab.router, "request", "neighbour", "table 77");
    assert_eq!(stop["cause"]["neighbour"]["address"], "10.82.0.66", "{stop:#}");
}

#[test]
fn one_probe_goes_ahead_where_there_is_more_to_watch_and_none_where_there_is_not() {
    let Some(lab) = routed("one_probe_goes_ahead_where_there_is_more_to_watch_and_none_where_there_is_not") else {
        return;
    };
    let requests = |netns: &probe_user::lab::Netns| -> u64 {
        let text = netns.command("cat").arg("/proc/net/snmp").output().expect("cat is there").stdout;
        let text = String::from_utf8(text).expect("text");
        let mut lines = text.lines().filter(|line| line.starts_with("Icmp: "));
        let names = lines.next().expect("names").split(' ');
        let values = lines.next().expect("values").split(' ');
        names.zip(values).find(|(name, _)| *name == "InEchos").expect("it counts them").1.parse().expect("a number")
    };
    let before = requests(&lab.b);
    let document = lab.diagnosed(B[0], false);
    assert_eq!(document["sent"], 5, "{document:#}");
    assert_eq!(requests(&lab.b) - before, 6);
    let before = requests(&lab.a);
    let document = lab.diagnosed("10.81.0.10", false);
    assert_eq!((&document["sent"], &document["answered"]), (&5.into(), &5.into()), "{document:#}");
    assert_eq!(requests(&lab.a) - before, 5);
}

#[test]
fn one_rule_that_drops_some_of_both_legs_is_one_place_and_no_limit() {
    let Some(lab) = routed("one_rule_that_drops_some_of_both_legs_is_one_place_and_no_limit") else { return };
    // Wherever it begins to count, it comes to drop requests and replies in turn.
    sh(&lab.router, &DROP.replace("RULE", "ip protocol icmp numgen inc mod 5 < 2 drop"));
    let text = lab.said(B[0]);
    assert!(text.contains(", and so w") && text.contains(" to the others;"), "{text}");
    assert!(text.contains("a share of them, on purpose"), "{text}");
    assert!(!text.contains("a limit"), "{text}");
}

#[test]
fn an_address_that_rules_lead_past_the_table_local_is_told_with_the_rule() {
    let Some(lab) = routed("an_address_that_rules_lead_past_the_table_local_is_told_with_the_rule") else { return };
    sh(
        &lab.b,
        "ip rule add pref 100 lookup local && ip rule del pref 0 && ip rule add pref 10 to 10.82.0.0/24 lookup main",
    );
    sh(&lab.router, "ip neigh flush dev eth1");
    let document = lab.diagnosed(B[0], true);
    let detail = document["stops"][0]["cause"]["detail"].as_str().unwrap_or_default();
    let why = "rule \"10: from all to 10.82.0.0/24 lookup main\" leads to the route \"10.82.0.0/24 dev eth0\" before the table \
               local is asked";
    assert!(detail.ends_with(why), "{document:#}");
    sh(&lab.b, "ip rule del pref 10 && ip rule add pref 0 lookup local && ip rule del pref 100");
    assert_eq!(lab.diagnosed(B[0], true)["verdict"]["outcome"], "delivered");
}
