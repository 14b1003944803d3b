//! What decides behind a stop, and what mends it: each is broken, named, and mended by the very command that is given.

use probe_user::lab::Netns;
use serde_json::Value;

use super::{B, Routed, routed, stopped_in};
use crate::common::{
    net::{answers, eventually, sh},
    run::{Ran, command},
};

const A: [&str; 2] = ["10.81.0.10", "fd81::10"];

/// The clause that says why, and all commands.
fn why(document: &Value) -> (String, Vec<String>) {
    let stops = document["stops"].as_array().expect("stops");
    assert_eq!(stops.len(), 1, "{document:#}");
    let commands = stops[0]["commands"].as_array().expect("commands").iter();
    let commands = commands.map(|command| command["command"].as_str().expect("a command").to_owned());
    (stops[0]["cause"]["detail"].as_str().unwrap_or_else(|| panic!("{document:#}")).to_owned(), commands.collect())
}

/// A diagnosis that does not wait long for what will not come.
fn diagnosed(lab: &Routed, target: &str) -> Value {
    lab.diagnosed(&format!("{target} -W 0.4 --no-controls"), false)
}

/// Types the first command that is given, in the namespace that it is for: what enters that may be a process that has ended, since
/// others than this one had its descriptors for a moment.
fn mend(lab: &Routed, netns: &Netns, target: &str, commands: &[String]) {
    let typed = commands[0].strip_prefix("nsenter ").and_then(|rest| rest.split_once(' ')).map(|(_, typed)| typed);
    sh(netns, typed.unwrap_or(&commands[0]));
    eventually("the command mends it", || answers(&lab.a, target));
}

#[test]
fn replies_with_too_small_a_ttl_are_told_with_who_sends_them() {
    let Some(lab) = routed("replies_with_too_small_a_ttl_are_told_with_who_sends_them") else { return };
    sh(&lab.b, "sysctl -qw net.ipv4.ip_default_ttl=1 net.ipv6.conf.eth0.hop_limit=1");
    for (target, setting) in B.into_iter().zip(["net.ipv4.ip_default_ttl", "net.ipv6.conf.eth0.hop_limit"]) {
        let document = diagnosed(&lab, target);
        stopped_in(&document, &lab.router, "reply", "route", target);
        let (detail, commands) = why(&document);
        assert!(detail.ends_with("with TTL 1, which is too low for this path"), "{detail}");
        assert!(commands[0].ends_with(setting), "{commands:?}");
    }
    // Where the router is another machine, the requests tell how many routers there are.
    let document = two_machines(&lab, B[0]);
    assert_eq!(document["stops"][0]["host"], "network", "{document:#}");
    assert!(why(&document).0.ends_with("which is too low for this path: the requests passed 1 router"), "{document:#}");
}

/// A diagnosis with an agent on B, as if each namespace were a machine.
fn two_machines(lab: &Routed, target: &str) -> Value {
    let mut command =
        command(&lab.a, &format!("diagnose {target} -c 5 -W 0.4 --no-controls --own-namespace --format json"));
    command.arg("--peer").arg(format!("{} {} agent", super::entered(&lab.b), env!("CARGO_BIN_EXE_probe")));
    Ran::of(command.output().expect("probe starts")).json()
}

#[test]
fn a_rule_by_protocol_is_written_and_asked_for_as_it_is() {
    let Some(lab) = routed("a_rule_by_protocol_is_written_and_asked_for_as_it_is") else { return };
    sh(&lab.a, "ip rule add pref 100 ipproto icmp lookup 99 && ip route add unreachable default table 99");
    let (detail, commands) = why(&diagnosed(&lab, B[0]));
    assert!(detail.starts_with("rule \"100: from all ipproto icmp lookup 99\""), "{detail}");
    assert_eq!(commands[0], format!("ip -4 route get {} ipproto icmp", B[0]));
    sh(
        &lab.a,
        "ip rule del pref 100 && ip rule add pref 100 lookup main suppress_prefixlength 0 && ip rule del pref 32766",
    );
    let (detail, _) = why(&diagnosed(&lab, B[0]));
    let passed = "rule \"100: from all lookup main suppress_prefixlength 0\" skips the route \"default via 10.81.0.1";
    assert!(detail.contains(passed), "{detail}");
    sh(
        &lab.a,
        "ip rule add pref 32766 lookup main && ip rule del pref 100 && sysctl -qw net.ipv4.conf.all.ignore_routes_with_linkdown=1",
    );
    sh(&lab.router, "ip link set eth0 down");
    let (detail, _) = why(&diagnosed(&lab, B[0]));
    assert!(detail.ends_with("is not taken, as eth0 has no carrier"), "{detail}");
}

#[test]
fn a_net_of_the_far_host_that_covers_the_senders_is_told_and_mended() {
    let Some(lab) = routed("a_net_of_the_far_host_that_covers_the_senders_is_told_and_mended") else { return };
    sh(&lab.b, "ip link add docker0 type bridge && ip addr add 10.81.0.1/16 dev docker0 && ip link set docker0 up");
    let document = diagnosed(&lab, B[0]);
    let (detail, commands) = why(&document);
    assert_eq!(document["stops"][0]["cause"]["neighbour"]["finding"], "net_elsewhere", "{document:#}");
    assert!(
        detail.contains("by eth0, and its route 10.81.0.0/16 says that 10.81.0.10 is on the link of docker0"),
        "{detail}"
    );
    assert!(commands[0].ends_with("ip route add 10.81.0.10/32 via 10.82.0.1 dev eth0"), "{commands:?}");
    mend(&lab, &lab.b, B[0], &commands);
}

#[test]
fn a_router_that_is_to_answer_for_what_is_behind_it_is_told_and_mended() {
    let Some(lab) = routed("a_router_that_is_to_answer_for_what_is_behind_it_is_told_and_mended") else { return };
    sh(&lab.b, "ip addr add 10.81.0.77/32 dev eth0 && ip addr add fd81::77/128 dev eth0 nodad");
    sh(&lab.router, "ip route add 10.81.0.77/32 dev eth1 && ip -6 route add fd81::77/128 dev eth1");
    for (target, setting) in [("10.81.0.77", "proxy_arp=0"), ("fd81::77", "proxy_ndp=0")] {
        let document = diagnosed(&lab, target);
        let (detail, commands) = why(&document);
        assert_eq!(document["stops"][0]["cause"]["neighbour"]["finding"], "not_proxied", "{document:#}");
        assert!(detail.contains(setting), "{detail}");
        if target.contains(':') {
            let named = ["sysctl -w net.ipv6.conf.eth0.proxy_ndp=1", "ip -6 neigh add proxy fd81::77 dev eth0"];
            assert!(named.iter().zip(&commands).all(|(named, command)| command.ends_with(named)), "{commands:?}");
        } else {
            mend(&lab, &lab.router, target, &commands);
        }
    }
}

#[test]
fn a_rule_that_meets_later_sequence_numbers_is_no_limit() {
    let Some(lab) = routed("a_rule_that_meets_later_sequence_numbers_is_no_limit") else { return };
    sh(
        &lab.router,
        "nft add table ip t && nft 'add chain ip t f { type filter hook forward priority 0; }'
         nft add rule ip t f icmp type echo-request icmp sequence '>' 3 drop",
    );
    let document = lab.diagnosed(B[0], false);
    assert_eq!(document["stops"][0]["packets"], 2, "{document:#}");
    let (detail, _) = why(&document);
    assert!(detail.ends_with("rule \"icmp type echo-request icmp sequence > 3 drop\" (handle 2)"), "{detail}");
    assert!(!detail.contains("a limit"), "{detail}");
    // Of a rule that rejects and a policy that drops, only the first one answers with an ICMP error.
    sh(
        &lab.router,
        "nft flush ruleset && nft add table ip t && nft add chain ip t wan
         nft add rule ip t wan counter reject with icmp port-unreachable
         nft 'add chain ip t f { type filter hook forward priority 0; policy drop; }' && nft add rule ip t f iif eth0 jump wan",
    );
    let (detail, _) = why(&diagnosed(&lab, B[0]));
    assert!(detail.starts_with("rule \"counter reject\" in chain wan"), "{detail}");
}

#[test]
fn what_the_sender_does_with_its_own_addresses_and_questions_is_told_and_mended() {
    let Some(lab) = routed("what_the_sender_does_with_its_own_addresses_and_questions_is_told_and_mended") else {
        return;
    };
    sh(&lab.a, "ip addr del 127.0.0.1/8 dev lo");
    let (detail, commands) = why(&diagnosed(&lab, "127.0.0.1"));
    assert!(detail.contains("does not have 127.0.0.1, and the route \"default via 10.81.0.1 dev eth0\""), "{detail}");
    mend(&lab, &lab.a, "127.0.0.1", &commands);

    sh(&lab.a, "sysctl -qw net.ipv4.neigh.eth0.mcast_solicit=0");
    let document = diagnosed(&lab, "10.81.0.99");
    let (detail, commands) = why(&document);
    assert_eq!(document["stops"][0]["cause"]["neighbour"]["finding"], "asks_nobody", "{document:#}");
    assert!(detail.ends_with("net.ipv4.neigh.eth0.mcast_solicit=0"), "{detail}");
    assert_eq!(commands, ["sysctl -w net.ipv4.neigh.eth0.mcast_solicit=3"]);
    sh(&lab.a, &commands[0]);

    sh(&lab.a, "ip addr flush dev eth0 && ip addr add 10.81.0.10/24 dev eth0 noprefixroute");
    let (detail, commands) = why(&diagnosed(&lab, "10.81.0.1"));
    assert_eq!(detail, "no route to 10.81.0.1, though eth0 has 10.81.0.10/24, which covers it");
    mend(&lab, &lab.a, "10.81.0.1", &commands);

    sh(&lab.a, "ip link set dev eth0 mtu 1279");
    let (detail, _) = why(&diagnosed(&lab, B[1]));
    assert_eq!(detail, "no route to fd82::20, and eth0 has no IPv6: its MTU is 1279");
}

#[test]
fn a_redirect_that_leads_astray_is_told_with_what_forgets_it() {
    let Some(lab) = routed("a_redirect_that_leads_astray_is_told_with_what_forgets_it") else { return };
    sh(&lab.a, "sysctl -qw net.ipv4.conf.all.accept_redirects=1 net.ipv4.conf.eth0.accept_redirects=1");
    sh(&lab.router, "sysctl -qw net.ipv4.conf.all.send_redirects=1 net.ipv4.conf.eth0.send_redirects=1");
    sh(&lab.router, &format!("ip route add {}/32 via 10.81.0.30 dev eth0", B[0]));
    for netns in [&lab.a, &lab.router] {
        sh(netns, "ip neigh replace 10.81.0.30 lladdr 02:00:00:00:00:30 dev eth0");
    }
    let redirected = || {
        answers(&lab.a, B[0]);
        let shown = lab.a.command("ip").args(["route", "get", B[0]]).output().expect("ip is there");
        String::from_utf8_lossy(&shown.stdout).contains("redirected")
    };
    eventually("the router sends A elsewhere", redirected);
    sh(&lab.router, &format!("ip route del {}/32", B[0]));
    let mut command =
        command(&lab.a, &format!("diagnose {} -c 5 -W 0.4 --no-controls --own-namespace --format json", B[0]));
    let document = Ran::of(command.output().expect("probe starts")).json();
    let (detail, commands) = why(&document);
    assert!(detail.contains("via 10.81.0.30, as an ICMP redirect once said, and not via 10.81.0.1"), "{detail}");
    mend(&lab, &lab.a, B[0], &commands);
}

#[test]
fn frames_that_a_host_does_not_take_are_told_by_what_decides() {
    let Some(lab) = routed("frames_that_a_host_does_not_take_are_told_by_what_decides") else { return };
    sh(&lab.b, "sysctl -qw net.ipv4.conf.eth0.drop_unicast_in_l2_multicast=1");
    sh(&lab.router, &format!("ip neigh replace {} lladdr ff:ff:ff:ff:ff:ff dev eth1", B[0]));
    let document = diagnosed(&lab, B[0]);
    stopped_in(&document, &lab.b, "request", "route", "a frame for all");
    let (detail, commands) = why(&document);
    assert!(detail.starts_with("they arrive in multicast or broadcast frames (ff:ff:ff:ff:ff:ff), as "), "{detail}");
    assert!(detail.ends_with("net.ipv4.conf.eth0.drop_unicast_in_l2_multicast=1 here"), "{detail}");
    mend(&lab, &lab.b, B[0], &commands);

    sh(&lab.router, &format!("ip neigh del {} dev eth1", B[0]));
    sh(
        &lab.b,
        "ip addr flush dev eth0 && ip link add m0 link eth0 type macvlan mode source && ip link set m0 up
         ip addr add 10.82.0.20/24 dev m0 && ip route add default via 10.82.0.1",
    );
    let document = diagnosed(&lab, B[0]);
    let (detail, _) = why(&document);
    assert_eq!(
        detail,
        "the frames are for m0, a macvlan device in mode source: it takes only those of senders on its list, which is empty"
    );
}

#[test]
fn a_target_behind_a_rewritten_address_is_asked_as_the_target() {
    let Some(lab) = routed("a_target_behind_a_rewritten_address_is_asked_as_the_target") else { return };
    sh(
        &lab.router,
        "nft add table ip n && nft 'add chain ip n p { type nat hook prerouting priority -100; }'
         nft add rule ip n p ip daddr 203.0.113.9 dnat to 10.82.0.20",
    );
    sh(&lab.b, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1");
    let document = diagnosed(&lab, "203.0.113.9");
    let stop = stopped_in(&document, &lab.b, "request", "icmp", "ignored");
    assert_eq!(stop["cause"]["setting"]["path"], "net/ipv4/icmp_echo_ignore_all", "{stop:#}");
    sh(&lab.b, "sysctl -qw net.ipv4.icmp_echo_ignore_all=0 && ip route del default");
    let document = diagnosed(&lab, "203.0.113.9");
    assert_eq!(why(&document).0, "no route to 10.81.0.10", "{document:#}");
}

#[test]
fn a_host_that_reaches_itself_through_its_own_port_of_a_bridge_needs_hairpin() {
    let name = "a_host_that_reaches_itself_through_its_own_port_of_a_bridge_needs_hairpin";
    let Some(lab) = routed(name) else { return };
    let bridged = lab.router.command("test").args(["-e", "/proc/sys/net/bridge/bridge-nf-call-iptables"]).status();
    if !bridged.is_ok_and(|status| status.success()) {
        crate::common::skip(name, "br_netfilter");
        return;
    }
    sh(
        &lab.router,
        &format!(
            "ip link add br0 type bridge && ip link set br0 up && ip addr flush dev eth0 && ip link set eth0 master br0
             ip addr add 10.81.0.1/24 dev br0 && sysctl -qw net.bridge.bridge-nf-call-iptables=1
             nft add table ip n && nft 'add chain ip n p {{ type nat hook prerouting priority -100; }}'
             nft add rule ip n p ip daddr 10.96.0.10 dnat to {}
             nft 'add chain ip n q {{ type nat hook postrouting priority 100; }}'
             nft add rule ip n q ip saddr {} ip daddr {} masquerade",
            A[0], A[0], A[0]
        ),
    );
    let document = diagnosed(&lab, "10.96.0.10");
    let (detail, commands) = why(&document);
    assert!(detail.starts_with("they are for 10.81.0.10 now, which is "), "{detail}");
    assert!(detail.ends_with("and hairpin is off at that port of bridge br0"), "{detail}");
    mend(&lab, &lab.router, "10.96.0.10", &commands);
}
