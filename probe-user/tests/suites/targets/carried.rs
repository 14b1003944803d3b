//! Diagnoses through a VXLAN tunnel of which something beneath the probes is broken: the layer, the host and the entry that
//! lose the packets are told, never a network.

use serde_json::{Value, json};

use crate::common::{
    self,
    net::{Pair, device, eventually, sh},
};
use crate::honesty::diagnosed::{acquitted, diagnosed};

/// What is broken on A and on B, how it is mended, and what must be said.
struct Broken {
    what: &'static str,
    a: [&'static str; 2],
    b: [&'static str; 2],
    leg: &'static str,
    host: &'static str,
    layer: &'static str,
    said: &'static str,
}

const FINE: [&str; 2] = ["true", "true"];

const DROP_IN: [&str; 2] = [
    "nft 'add table inet t; add chain inet t c { type filter hook input priority 0; }'
     nft 'add rule inet t c udp dport 8472 drop'",
    "nft delete table inet t",
];

/// Makes the tunnel of B anew.
const ANEW: &str = "ip link del top
    ip link add top address 02:f1:00:00:00:02 type vxlan id 1 dev vb local 10.9.0.2 dstport 8472 nolearning
    ip addr add 10.8.0.2/24 dev top && ip link set top up
    ip neigh replace 10.8.0.1 lladdr 02:f1:00:00:00:01 dev top nud permanent
    bridge fdb append 02:f1:00:00:00:01 dev top dst 10.9.0.1";

const BROKEN: [Broken; 4] = [
    Broken {
        what: "the port is dropped where packets arrive",
        a: FINE,
        b: DROP_IN,
        leg: "request",
        host: "peer",
        layer: "netfilter",
        said: "inet t, chain c",
    },
    Broken {
        what: "the replies' port is dropped where they come back",
        a: DROP_IN,
        b: FINE,
        leg: "reply",
        host: "local",
        layer: "netfilter",
        said: "inet t, chain c",
    },
    Broken {
        what: "no forwarding entry",
        a: ["bridge fdb del 02:f1:00:00:00:02 dev top", "bridge fdb append 02:f1:00:00:00:02 dev top dst 10.9.0.2"],
        b: FINE,
        leg: "request",
        host: "local",
        layer: "tunnel",
        said: "top has no forwarding entry for 02:f1:00:00:00:02",
    },
    Broken {
        what: "another number",
        a: FINE,
        b: [
            "ip link del top
             ip link add top address 02:f1:00:00:00:02 type vxlan id 2 dev vb local 10.9.0.2 dstport 8472 nolearning
             ip addr add 10.8.0.2/24 dev top && ip link set top up",
            ANEW,
        ],
        leg: "request",
        host: "peer",
        layer: "tunnel",
        said: "has VNI 1, and top of the peer 2",
    },
];

/// A pair with a tunnel as cluster networks make it: every entry is set, and nothing is learned.
fn tunnel() -> Pair {
    let pair = Pair::new();
    for (netns, lower, me, it) in [(&pair.a, "va", "1", "2"), (&pair.b, "vb", "2", "1")] {
        let make = "ip link add top address 02:f1:00:00:00:0{me} type vxlan id 1 dev {lower} local 10.9.0.{me} dstport 8472 nolearning
             ip addr add 10.8.0.{me}/24 dev top && ip link set top up
             ip neigh replace 10.8.0.{it} lladdr 02:f1:00:00:00:0{it} dev top nud permanent
             bridge fdb append 02:f1:00:00:00:0{it} dev top dst 10.9.0.{it}";
        sh(netns, &make.replace("{lower}", lower).replace("{me}", me).replace("{it}", it));
        eventually("the link is up", || device(netns, "top").is_some_and(|device| device.carrier));
    }
    pair
}

fn run(pair: &Pair) -> Value {
    diagnosed(pair, "10.8.0.2 -c 3 -W 0.2 --own-namespace --format json").json()
}

#[test]
fn what_loses_the_packets_of_a_tunnel_is_told_with_its_layer_and_its_host() {
    if !common::is_root("what_loses_the_packets_of_a_tunnel_is_told_with_its_layer_and_its_host") {
        return;
    }
    let pair = tunnel();
    for Broken { what, a, b, leg, host, layer, said } in &BROKEN {
        sh(&pair.a, a[0]);
        sh(&pair.b, b[0]);
        let document = run(&pair);
        sh(&pair.a, a[1]);
        sh(&pair.b, b[1]);
        let stop = &document["stops"][0];
        assert_eq!(document["stops"].as_array().map(Vec::len), Some(1), "{what}: {document:#}");
        let got = json!([stop["leg"], stop["host"], stop["layer"], stop["packets"]]);
        assert_eq!(got, json!([leg, host, layer, 3]), "{what}: {stop:#}");
        assert_eq!((&stop["carried"]["interface"], &stop["carried"]["vni"]), (&"top".into(), &1.into()), "{what}");
        let sentence = document["verdict"]["sentence"].as_str().unwrap_or_default();
        assert!(sentence.contains(said), "{what}: {sentence}");
        assert!(!sentence.contains("lost on the network"), "{what}: {sentence}");
    }
}

#[test]
fn a_healthy_tunnel_shows_every_probe_once_at_each_hop_of_both_layers() {
    if !common::is_root("a_healthy_tunnel_shows_every_probe_once_at_each_hop_of_both_layers") {
        return;
    }
    let ran = diagnosed(&tunnel(), "10.8.0.2 -c 20 -i 0.02 -W 10 --own-namespace --format json");
    let document = acquitted("healthy", &ran, 20);
    let stretches = document["carried"].as_array().expect("two stretches");
    let legs: Vec<&str> = stretches.iter().filter_map(|stretch| stretch["leg"].as_str()).collect();
    assert_eq!(legs, ["request", "reply"], "{document:#}");
    for stretch in stretches {
        let ends = if stretch["leg"] == "request" { ["10.9.0.1", "10.9.0.2"] } else { ["10.9.0.2", "10.9.0.1"] };
        assert_eq!([&stretch["from"], &stretch["to"]], [&Value::from(ends[0]), &Value::from(ends[1])], "{stretch:#}");
        for name in ["encap", "nf_output_last", "nf_postrouting_last", "xmit", "netif_in", "nf_input_last", "decap"] {
            let of_name: Vec<&Value> =
                stretch["hops"].as_array().into_iter().flatten().filter(|hop| hop["hop"] == name).collect();
            assert_eq!(of_name.len(), 1, "{name}: {stretch:#}");
            assert_eq!(of_name[0]["packets"], 20, "{name}: {stretch:#}");
        }
    }
}

#[test]
fn questions_for_a_neighbour_that_a_tunnel_loses_are_followed_into_it() {
    if !common::is_root("questions_for_a_neighbour_that_a_tunnel_loses_are_followed_into_it") {
        return;
    }
    let pair = tunnel();
    // Nobody knows the neighbour beforehand: it is asked for, by what is for all.
    for (netns, it) in [(&pair.a, "2"), (&pair.b, "1")] {
        sh(
            netns,
            &format!("ip neigh del 10.8.0.{it} dev top; bridge fdb append 00:00:00:00:00:00 dev top dst 10.9.0.{it}"),
        );
    }
    let said = |what: &str, expected: &str| {
        sh(&pair.a, "ip neigh flush dev top");
        // What got through between two faults gave it an entry: once that is old it asks, and a learns from the question.
        sh(&pair.b, "ip neigh flush dev top");
        let document = run(&pair);
        let detail = document["stops"][0]["cause"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(expected), "{what}: {document:#}");
    };
    sh(&pair.b, DROP_IN[0]);
    said("input", "and its input chain (nftables: inet t, chain c) (inside the packets of the tunnel) drops");
    sh(&pair.b, DROP_IN[1]);
    sh(&pair.b, "sysctl -qw net.ipv4.conf.all.rp_filter=1; ip route add 10.9.0.1/32 dev lo");
    said(
        "reverse path",
        "top sends such packets to 10.9.0.2, VNI 1, UDP port 8472, and the peer freed them: IP_RPFILTER",
    );
    sh(&pair.b, "sysctl -qw net.ipv4.conf.all.rp_filter=0; ip route del 10.9.0.1/32 dev lo");
    sh(&pair.a, "bridge fdb del 00:00:00:00:00:00 dev top dst 10.9.0.2");
    said("no entry", "top has no forwarding entry for broadcasts, and no default host");
}
