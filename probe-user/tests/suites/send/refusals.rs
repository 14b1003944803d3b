//! Each way in which the kernel of this host refuses a packet, told by its cause.

use super::{
    net::{FAR4, FAR6, send, send_text, send_unprivileged, sh, start, with_loopback, with_veth},
    wire::Capture,
};

/// Sends three packets, all of which must be refused with `errno`.
fn assert_refused(words: &str, errno: &str) {
    let ran = send(&format!("request {words} -c 3 -i 0"));
    assert_eq!((ran.code, ran.json()["sent"].as_u64()), (Some(1), Some(0)), "{words}: {ran:?}");
    assert_eq!(ran.refused(), (errno.to_owned(), 3), "{words}");
}

#[test]
fn routes_that_refuse_are_told_apart() {
    with_loopback("routes_that_refuse_are_told_apart", || {
        sh("sysctl -qw net.ipv4.ping_group_range='0 65534'");
        for (route, errno) in
            [("unreachable", "EHOSTUNREACH"), ("blackhole", "EINVAL"), ("prohibit", "EACCES"), ("throw", "ENETUNREACH")]
        {
            sh(&format!("ip route replace {route} 10.7.0.0/24 && ip -6 route add {route} fd07::/64"));
            assert_refused("10.7.0.1", errno);
            assert_refused("fd07::1", errno);
            let by_ping_socket = send_unprivileged("request 10.7.0.1 -c 3 -i 0");
            assert_eq!(by_ping_socket.refused(), (errno.to_owned(), 3), "{route}");
            sh(&format!("ip route del {route} 10.7.0.0/24 && ip -6 route del {route} fd07::/64"));
        }
        assert_refused("10.8.0.1", "ENETUNREACH");
        assert_refused("fd08::1", "ENETUNREACH");
    });
}

#[test]
fn a_firewall_rule_at_output_or_postrouting_is_eperm() {
    with_veth("a_firewall_rule_at_output_or_postrouting_is_eperm", || {
        for (hook, verdict) in [("output", "drop"), ("output", "reject"), ("postrouting", "drop")] {
            sh(&format!("nft 'add table inet t; add chain inet t c {{ type filter hook {hook} priority 0; }}'"));
            sh(&format!("nft 'add rule inet t c icmp type echo-request {verdict}'"));
            sh(&format!("nft 'add rule inet t c icmpv6 type echo-request {verdict}'"));
            assert_refused(FAR4, "EPERM");
            assert_refused(FAR6, "EPERM");
            sh("nft delete table inet t");
        }
    });
}

#[test]
fn the_text_names_cause_and_what_to_look_at() {
    with_veth("the_text_names_cause_and_what_to_look_at", || {
        sh("nft 'add table ip t; add chain ip t c { type filter hook output priority 0; }'");
        sh("nft 'add rule ip t c icmp type echo-request drop'");
        let ran = send_text(&format!("request {FAR4} -e 43 -c 2 -i 0"));
        let lines: Vec<_> = ran.stdout.lines().collect();
        assert_eq!(lines[0], "sent none of 2 echo requests to 10.9.0.2 (id 0x2b = 43, seq 1-2, 56 bytes)");
        assert!(lines[1].contains("EPERM: dropped on its way out of this host: a firewall rule"), "{ran:?}");
        assert!(lines[2].contains("look at   nft list ruleset"), "{ran:?}");
    });
}

#[test]
fn a_drop_at_the_device_is_enobufs_though_raw_sockets_hide_it() {
    with_veth("a_drop_at_the_device_is_enobufs_though_raw_sockets_hide_it", || {
        sh("nft 'add table netdev t; add chain netdev t c { type filter hook egress device va priority 0; }'");
        sh("nft 'add rule netdev t c meta protocol { ip, ip6 } drop'");
        assert_refused(FAR4, "ENOBUFS");
        assert_refused(FAR6, "ENOBUFS");
    });
}

#[test]
fn a_full_queue_is_enobufs() {
    with_veth("a_full_queue_is_enobufs", || {
        sh("tc qdisc add dev va root tbf rate 8kbit burst 1600 limit 1600");
        let ran = send(&format!("request {FAR4} -c 50 -i 0"));
        let (errno, count) = ran.refused();
        assert!(ran.code == Some(1) && errno == "ENOBUFS" && (1..50).contains(&count), "{ran:?}");
        assert_eq!(ran.json()["sent"].as_u64(), Some(50 - count));
    });
}

#[test]
fn a_packet_above_the_mtu_is_emsgsize_with_the_mtu() {
    with_veth("a_packet_above_the_mtu_is_emsgsize_with_the_mtu", || {
        for far in [FAR4, FAR6] {
            assert_refused(&format!("{far} -s 1473 --df"), "EMSGSIZE");
            let text = send_text(&format!("request {far} -s 1473 --df")).stdout;
            assert!(text.contains("longer than the MTU of 1500 bytes"), "{text}");
        }
        assert_eq!(send(&format!("request {FAR4} -s 1472 --df")).code, Some(0));
        assert_eq!(send(&format!("request {FAR6} -s 1452 --df")).code, Some(0));
    });
}

#[test]
fn an_interface_that_is_down_is_told() {
    with_veth("an_interface_that_is_down_is_told", || {
        sh("ip link set va down");
        for words in [FAR4.to_owned(), format!("{FAR4} -I va"), FAR6.to_owned()] {
            assert_refused(&words, "ENETUNREACH");
        }
        let text = send_text(&format!("request {FAR4}")).stdout;
        assert!(text.contains("the interface that it uses is down"), "{text}");
    });
}

#[test]
fn a_host_without_a_fitting_source_is_told() {
    with_veth("a_host_without_a_fitting_source_is_told", || {
        sh("ip -6 addr flush dev va && ip -6 addr flush dev vb && ip -6 addr flush dev lo");
        sh("ip -6 route add fd09::/64 dev va");
        assert_refused("fd09::2", "EADDRNOTAVAIL");
    });
}

#[test]
fn an_interface_that_vanishes_while_sending_is_told() {
    with_veth("an_interface_that_vanishes_while_sending_is_told", || {
        let mut capture = Capture::on("vb");
        let running = start(&format!("request {FAR4} -I va -c 10 -i 0.1 -e 44"));
        assert_eq!(capture.take(2, 8, 44).len(), 2, "it is under way");
        sh("ip link del va");
        let ran = running.wait();
        let (errno, count) = ran.refused();
        assert!(ran.code == Some(1) && errno == "ENODEV" && (1..10).contains(&count), "{ran:?}");
        assert_eq!(ran.json()["sent"].as_u64(), Some(10 - count));
    });
}

#[test]
fn an_error_that_comes_back_is_not_told_as_a_refused_send() {
    with_veth("an_error_that_comes_back_is_not_told_as_a_refused_send", || {
        sh("sysctl -qw net.ipv4.ping_group_range='0 65534'");
        sh("sysctl -qw net.ipv4.neigh.va.retrans_time_ms=50 net.ipv4.neigh.va.mcast_solicit=1");
        sh("sysctl -qw net.ipv6.neigh.va.retrans_time_ms=50 net.ipv6.neigh.va.mcast_solicit=1");
        for far in ["10.9.0.77", "fd09::77"] {
            for ran in [
                send(&format!("request {far} -c 20 -i 0.05")),
                send_unprivileged(&format!("request {far} -c 20 -i 0.05")),
            ] {
                let json = ran.json();
                assert_eq!((ran.code, json["sent"].as_u64()), (Some(0), Some(20)), "{ran:?}");
                assert_eq!(json["returned"][0]["meaning"], "host unreachable", "{ran:?}");
            }
        }
    });
}

#[test]
fn a_refusal_and_errors_that_come_back_are_kept_apart() {
    with_veth("a_refusal_and_errors_that_come_back_are_kept_apart", || {
        sh("nft 'add table ip t; add chain ip t c { type filter hook output priority 0; }'");
        sh("nft 'add rule ip t c icmp type echo-request counter reject with icmp type admin-prohibited'");
        let ran = send(&format!("request {FAR4} -c 5 -i 0.05"));
        assert_eq!(ran.refused(), ("EPERM".to_owned(), 5), "{ran:?}");
        assert_eq!(ran.json()["returned"][0]["code"], 13, "{ran:?}");
        // No send was tried twice because of an error that came back.
        sh("nft list chain ip t c | grep -q 'counter packets 5 '");
    });
}
