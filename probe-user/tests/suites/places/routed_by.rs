//! What decides on the way by more than addresses: TOS, a mark, a route of type local, a device made in another namespace.

use serde_json::Value;

use super::{B, Routed, routed};
use crate::common::net::sh;

fn stop(lab: &Routed, words: &str) -> Value {
    lab.diagnosed(&format!("{words} -W 0.4 --no-controls"), false)["stops"][0].clone()
}

fn detail(stop: &Value) -> &str {
    stop["cause"]["detail"].as_str().unwrap_or_else(|| panic!("{stop:#}"))
}

#[test]
fn a_route_for_one_tos_is_looked_up_with_it() {
    let Some(lab) = routed("a_route_for_one_tos_is_looked_up_with_it") else { return };
    sh(&lab.a, "ip route add 10.82.0.0/24 tos 0x10 via 10.81.0.77 && ip rule add tos 0x08 prohibit");
    let gone = stop(&lab, &format!("-Q 0x10 {}", B[0]));
    assert_eq!(gone["cause"]["neighbour"]["address"], "10.81.0.77", "{gone:#}");
    let prohibited = stop(&lab, &format!("-Q 8 {}", B[0]));
    assert!(detail(&prohibited).contains("tos 0x8 prohibit"), "{prohibited:#}");
}

#[test]
fn a_router_that_takes_in_what_is_for_others_is_told_with_its_rule() {
    let Some(lab) = routed("a_router_that_takes_in_what_is_for_others_is_told_with_its_rule") else { return };
    sh(
        &lab.router,
        "ip rule add fwmark 1 lookup 100 && ip route add local default dev lo table 100 && nft add table ip t
         nft 'add chain ip t p { type filter hook prerouting priority mangle; }'
         nft add rule ip t p iifname eth0 meta mark set 1",
    );
    let taken = stop(&lab, B[0]);
    assert_eq!((&taken["host"], &taken["layer"]), (&"via".into(), &"route".into()), "{taken:#}");
    assert!(detail(&taken).contains("fwmark 0x1 lookup 100"), "{taken:#}");
}

#[test]
fn a_forwarding_setting_comes_with_the_command_that_sets_it() {
    let Some(lab) = routed("a_forwarding_setting_comes_with_the_command_that_sets_it") else { return };
    sh(&lab.router, "sysctl -qw net.ipv4.conf.eth1.forwarding=0");
    let refused = stop(&lab, B[0]);
    assert_eq!(refused["leg"], "reply", "{refused:#}");
    let first = refused["commands"][0]["command"].as_str().expect("a command");
    assert!(first.ends_with("sysctl -w net.ipv4.conf.eth1.forwarding=1"), "{first}");
}

#[test]
fn rules_for_other_addresses_are_not_accused() {
    let Some(lab) = routed("rules_for_other_addresses_are_not_accused") else { return };
    sh(
        &lab.router,
        "nft add table ip t && nft 'add chain ip t f { type filter hook forward priority 0; }'
         nft add rule ip t f ip saddr 1.2.3.4 drop && nft add rule ip t f ip daddr { 10.9.9.9, 10.82.0.21 } drop
         nft add rule ip t f ip saddr 10.81.0.0/24 icmp type echo-request drop",
    );
    let dropped = stop(&lab, B[0]);
    let rule = dropped["cause"]["netfilter"]["rule"].as_str().unwrap_or_else(|| panic!("{dropped:#}"));
    assert_eq!(rule, "ip saddr 10.81.0.0/24 icmp type echo-request drop");
}
