//! Without `CAP_NET_RAW`: ping sockets, and what they can't do.

use super::{
    net::{FAR4, Ran, beside_unprivileged, send_unprivileged, sh, with_loopback, with_veth},
    wire::Capture,
};

fn assert_told(ran: &Ran, error: &str, fix: &str) {
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let json = ran.json();
    assert_eq!(json["schema"], "probe.error/1");
    let has = |field: &str, part: &str| json[field].as_str().is_some_and(|text| text.contains(part));
    assert!(has("error", error) && has("fix", fix), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}

#[test]
fn a_ping_socket_sends_with_the_id_that_the_report_says() {
    with_veth("a_ping_socket_sends_with_the_id_that_the_report_says", || {
        sh("sysctl -qw net.ipv4.ping_group_range='65534 65534'");
        let mut capture = Capture::on("vb");
        let ran = send_unprivileged(&format!("request {FAR4} -t 7 --df --dscp 10"));
        let json = ran.json();
        assert_eq!((ran.code, json["socket"].as_str()), (Some(0), Some("ping")), "{ran:?}");
        assert_eq!(json["id_chosen_by"], "kernel");
        let id = u16::try_from(json["id"].as_u64().expect("a number")).expect("an id");
        let seen = capture.one(8, id);
        assert!(seen.good && seen.df && (seen.ttl, seen.tos) == (7, 40), "{seen:?}");
    });
}

#[test]
fn a_ping_socket_has_the_id_that_was_asked_for_if_it_is_free() {
    with_loopback("a_ping_socket_has_the_id_that_was_asked_for_if_it_is_free", || {
        sh("sysctl -qw net.ipv4.ping_group_range='65534 65534'");
        let mut capture = Capture::on("lo");
        for (target, icmp_type) in [("127.0.0.1", 8), ("::1", 128)] {
            let ran = send_unprivileged(&format!("request {target} -e 4343"));
            assert_eq!((ran.code, ran.json()["id_chosen_by"].as_str()), (Some(0), Some("user")), "{ran:?}");
            assert!(capture.one(icmp_type, 4343).good);
        }
        beside_unprivileged("request 127.0.0.1 -e 4343 -c 100 -i 0.1", || {
            Capture::on("lo").one(8, 4343);
            let ran = send_unprivileged("request 127.0.0.1 -e 4343");
            assert_told(&ran, "id 4343 is in use by another ping", "choose another with -e");
        });
    });
}

#[test]
fn what_no_ping_socket_can_send_needs_privilege() {
    with_loopback("what_no_ping_socket_can_send_needs_privilege", || {
        sh("sysctl -qw net.ipv4.ping_group_range='65534 65534'");
        for (words, what) in [
            ("reply 127.0.0.1", "an echo reply"),
            ("reply ::1", "an echo reply"),
            ("request 127.0.0.1 --code 3", "a code other than 0"),
            ("request 127.0.0.1 -e 0", "id 0"),
        ] {
            let ran = send_unprivileged(words);
            assert_told(&ran, &format!("sending {what} needs CAP_NET_RAW"), "sudo setcap cap_net_raw+ep");
        }
    });
}

#[test]
fn ping_sockets_that_are_refused_too_are_told_with_both_fixes() {
    with_loopback("ping_sockets_that_are_refused_too_are_told_with_both_fixes", || {
        sh("sysctl -qw net.ipv4.ping_group_range='1 0'");
        for target in ["127.0.0.1", "::1"] {
            let ran = send_unprivileged(&format!("request {target}"));
            assert_told(&ran, "net.ipv4.ping_group_range excludes", "sudo setcap");
            assert_told(&ran, "CAP_NET_RAW", "sudo sysctl net.ipv4.ping_group_range=");
        }
    });
}
