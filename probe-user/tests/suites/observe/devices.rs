//! Interfaces that are no Ethernet cards: loopback, tunnels without a link layer, VLANs.

use std::io::Write;

use nix::sys::signal::Signal;
use probe_ebpf::{Echo, Family};
use probe_user::traffic::Frame;

use super::row::{Row, numbers, of, only, row};
use crate::common::{
    is_root,
    net::{A4, A6, B4, B6, Pair, eventually, message, own_bpffs, ping, sh},
    run::{Running, probe},
    tun::tun,
};

#[test]
fn on_loopback_what_leaves_enters_again() {
    if !is_root("on_loopback_what_leaves_enters_again") {
        return;
    }
    let pair = Pair::new();
    let mut observer = Running::start(&pair.a, "observe -I lo -i 0.1 --format json");
    probe(&pair.a, "send request 127.0.0.1 -e 7 -c 3 -i 0.01").done();
    let wanted = Row { entered: (3, 3), left: (3, 3), ..Row::default() };
    observer.until_last("requests and replies", |document| row(document, 7) == wanted);
    assert_eq!(observer.end_with(Signal::SIGINT).last()["xdp_mode"], "off");
}

#[test]
fn a_tunnel_without_link_layer_is_counted() {
    if !is_root("a_tunnel_without_link_layer_is_counted") {
        return;
    }
    for xdp in ["auto", "off"] {
        let pair = Pair::new();
        let mut far = tun(&pair.a, "tun7").expect("a tun interface: CONFIG_TUN is on everywhere");
        sh(&pair.a, "ip addr add 10.8.0.1/24 dev tun7; ip link set tun7 up");
        let mut observer = Running::start(&pair.a, &format!("observe -I tun7 -i 0.1 --format json --xdp {xdp}"));
        let v4 = Frame::v4([10, 8, 0, 2].into(), [10, 8, 0, 1].into(), &message(Family::V4, Echo::Request, 7, 1));
        let v6 = Frame::v6(B6, A6, &message(Family::V6, Echo::Reply, 8, 1));
        for _ in 0..5 {
            far.write_all(&v4.ip_bytes()).expect("the tunnel takes it");
            far.write_all(&v6.ip_bytes()).expect("the tunnel takes it");
        }
        let wanted = Row { entered: (5, 0), left: (0, 5), ..Row::default() };
        observer.until_last("all of IPv4", |document| row(document, 7) == wanted);
        let document = observer.end_with(Signal::SIGINT).last();
        assert_eq!(numbers(&of(&document, 8, 6)).entered, (0, 5), "{xdp}: {document}");
        assert_eq!(of(&document, 7, 4)["peer"], "10.8.0.2", "{xdp}: {document}");
    }
}

#[test]
fn a_vlan_interface_is_counted_and_so_is_the_one_beneath() {
    if !is_root("a_vlan_interface_is_counted_and_so_is_the_one_beneath") {
        return;
    }
    let pair = Pair::new();
    let made = pair.a.command("ip").args("link add link va name va.5 type vlan id 5".split(' ')).output();
    let made = made.expect("ip is there");
    if !made.status.success() {
        // Counting tagged frames beneath is tested without such an interface in `counts.rs`.
        let why = String::from_utf8_lossy(&made.stderr).trim().to_owned();
        assert!(why.contains("Unknown device type"), "{why}");
        return;
    }
    sh(&pair.b, "ip link add link vb name vb.5 type vlan id 5; ip addr add 10.5.0.2/24 dev vb.5; ip link set vb.5 up");
    sh(&pair.a, "ip addr add 10.5.0.1/24 dev va.5; ip link set va.5 up");
    let words = "-i 0.1 --format json";
    let mut observers = ["va", "va.5"].map(|name| Running::start(&pair.a, &format!("observe -I {name} {words}")));
    sh(&pair.a, "ping -n -q -c 5 -i 0.02 10.5.0.2");
    let wanted = Row { entered: (0, 5), left: (5, 0), ..Row::default() };
    for observer in &mut observers {
        observer.until_last("all of them", |document| numbers(&only(document, 4)) == wanted);
    }
}

#[test]
fn an_interface_that_is_down_is_watched_until_it_is_up() {
    if !is_root("an_interface_that_is_down_is_watched_until_it_is_up") {
        return;
    }
    let pair = Pair::new();
    sh(&pair.a, "ip link set va down");
    let mut observer = Running::start(&pair.a, "observe -I va -i 0.1 --format json");
    sh(&pair.a, "ip link set va up");
    // The addresses of IPv4 stay; the neighbour goes with the link.
    sh(&pair.a, &format!("ip neigh replace {B4} lladdr 02:00:00:00:00:02 dev va nud permanent"));
    sh(&pair.a, &format!("ping -n -q -c 1 -W 10 {B4}"));
    observer.until_last("a reply", |document| numbers(&only(document, 4)).entered == (0, 1));
}

#[test]
fn echo_inside_a_tunnel_is_counted_and_dropped_by_its_own_id() {
    if !is_root("echo_inside_a_tunnel_is_counted_and_dropped_by_its_own_id") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    for (netns, own, far, lower) in [(&pair.a, A4, B4, "va"), (&pair.b, B4, A4, "vb")] {
        let last = own.octets()[3];
        let vxlan = format!(
            "ip link add vx0 mtu 1400 type vxlan id 7 dstport 8472 local {own} remote {far} dev {lower}
            ip addr add 172.31.0.{last}/24 dev vx0
            ip link set vx0 up"
        );
        sh(netns, &vxlan);
    }
    let target = format!("172.31.0.{}", B4.octets()[3]);
    ping(&pair.a, &target, 1);
    let mut observer = Running::start(&pair.a, "observe -I va -e 77 --inner -i 0.1 --format json");
    let plain = Running::start(&pair.a, "observe -I va -e 77 -i 0.1 --format json");
    probe(&pair.a, &format!("send request {target} -e 77 -c 3 -i 0.01")).done();
    let wanted = Row { entered: (0, 3), left: (3, 0), ..Row::default() };
    observer.until_last("requests and replies", |document| row(document, 77) == wanted);
    let document = observer.end_with(Signal::SIGINT).last();
    assert_eq!(only(&document, 4)["peer"], target, "{document}");
    assert_eq!(plain.end_with(Signal::SIGINT).last()["ids"], serde_json::json!([]));
    probe(&pair.b, "filter add -I vb -e 77 --inner --hook tc").done();
    probe(&pair.b, "filter add -I vb -e 78 --hook tc").done();
    for id in [77, 78] {
        probe(&pair.a, &format!("send request {target} -e {id} -c 3 -i 0.01")).done();
    }
    let hits = || {
        let list = probe(&pair.b, "filter list --format json").json();
        let rules = list["filters"].as_array().expect("rules").clone();
        rules.iter().map(|rule| (rule["match"]["inner"].clone(), rule["dropped"].clone())).collect::<Vec<_>>()
    };
    eventually("three are dropped", || hits() == [(true.into(), 3.into()), (false.into(), 0.into())]);
    probe(&pair.b, "filter clear").done();
}
