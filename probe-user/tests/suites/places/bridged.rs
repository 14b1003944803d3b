//! A bridge between two hosts: what it does not pass on, and by which of its settings.

use serde_json::Value;

use super::{Routed, routed, stopped_in};
use crate::common::net::{answers, eventually, sh};

const B: [&str; 2] = ["10.81.0.20", "fd81::20"];

/// The router becomes a bridge between the two, which are on one link then.
pub(super) fn bridged(name: &str) -> Option<Routed> {
    let lab = routed(name)?;
    sh(
        &lab.router,
        "ip link add br0 type bridge && ip link set br0 up
         ip addr flush dev eth0 && ip addr flush dev eth1
         ip link set eth0 master br0 && ip link set eth1 master br0",
    );
    sh(&lab.b, "ip addr add 10.81.0.20/24 dev eth0 && ip addr add fd81::20/64 dev eth0 nodad");
    for target in B {
        eventually("the bridge passes", || answers(&lab.a, target));
    }
    Some(lab)
}

/// What is said of the neighbour that is not found: the finding, and the clause.
fn waiting(document: &Value) -> (String, String) {
    let stops = document["stops"].as_array().expect("stops");
    assert_eq!(stops.len(), 1, "{document:#}");
    let cause = &stops[0]["cause"];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{document:#}")).to_owned();
    (text(&cause["neighbour"]["finding"]), text(&cause["detail"]))
}

#[test]
fn isolated_ports_of_a_bridge_are_named() {
    let Some(lab) = bridged("isolated_ports_of_a_bridge_are_named") else { return };
    let document = lab.diagnosed(B[0], false);
    assert_eq!(document["verdict"]["outcome"], "delivered", "{document:#}");
    assert_eq!(document["stops"], Value::Array(Vec::new()), "{document:#}");
    sh(&lab.router, "bridge link set dev eth0 isolated on && bridge link set dev eth1 isolated on");
    let stop = stopped_in(&lab.diagnosed(B[0], false), &lab.router, "request", "netfilter", "isolated");
    let detail = stop["cause"]["detail"].as_str().expect("a detail");
    assert_eq!(detail, "eth0 is an isolated port of bridge br0, and so is eth1", "{stop:#}");
}

#[test]
fn what_keeps_a_bridge_from_sending_questions_on_is_named() {
    let Some(lab) = bridged("what_keeps_a_bridge_from_sending_questions_on_is_named") else { return };
    let faults = [
        (B[0], "ip link set eth1 nomaster", "ip link set eth1 master br0", "is a port of no bridge"),
        (B[1], "ip link set eth1 down", "ip link set eth1 up", "is down"),
        (
            B[0],
            "bridge link set dev eth1 bcast_flood off",
            "bridge link set dev eth1 bcast_flood on",
            "bcast_flood off",
        ),
        (
            B[1],
            "bridge link set dev eth1 mcast_flood off",
            "bridge link set dev eth1 mcast_flood on",
            "mcast_flood off",
        ),
        (B[0], "ip link set br0 down", "ip link set br0 up", "the bridge br0 is down"),
    ];
    for (target, fault, mend, why) in faults {
        sh(&lab.router, fault);
        sh(&lab.a, "ip neigh flush dev eth0 && ip -6 neigh flush dev eth0");
        let (finding, detail) = waiting(&lab.diagnosed(target, true));
        assert!(detail.contains(why), "{fault}: {detail}");
        assert_eq!(finding, "bridge_holds_them", "{fault}: {detail}");
        sh(&lab.router, mend);
    }
}

#[test]
fn a_cloned_machine_with_the_senders_own_link_layer_address_is_told() {
    let Some(lab) = bridged("a_cloned_machine_with_the_senders_own_link_layer_address_is_told") else { return };
    sh(&lab.a, "ip link set eth0 address 02:00:00:00:c1:0e");
    sh(&lab.b, "ip link set eth0 address 02:00:00:00:c1:0e");
    let (finding, detail) = waiting(&lab.diagnosed(B[0], true));
    assert_eq!(finding, "shared_link_address", "{detail}");
    assert!(detail.ends_with("both have the link-layer address 02:00:00:00:c1:0e"), "{detail}");
}

#[test]
fn what_is_longer_than_a_port_or_the_other_end_of_a_pair_takes_is_told_with_its_mtu() {
    let Some(lab) = bridged("what_is_longer_than_a_port_or_the_other_end_of_a_pair_takes_is_told_with_its_mtu") else {
        return;
    };
    sh(&lab.a, "ip link set eth0 mtu 4000");
    sh(&lab.router, "ip link set eth0 mtu 4000");
    let words = format!("{} -s 2000", B[0]);
    let stop = stopped_in(&lab.diagnosed(&words, false), &lab.router, "request", "netfilter", "a port's MTU");
    assert_eq!(stop["cause"]["detail"], "longer than eth1, a port of bridge br0, takes (MTU 1500)", "{stop:#}");
    sh(&lab.router, "ip link set eth0 mtu 1500");
    let document = lab.diagnosed(&words, false);
    let stop = &document["stops"][0];
    assert_eq!((&stop["host"], &stop["layer"]), (&"local".into(), &"driver".into()), "{document:#}");
    assert_eq!(stop["cause"]["detail"], "longer than the other end of eth0 takes", "{stop:#}");
}
