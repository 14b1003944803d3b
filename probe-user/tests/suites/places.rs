//! Diagnoses from A over a router to B, all three network namespaces of this kernel: what the router or B does with a probe
//! is told of that namespace, and never of the network.

mod advice;
mod bounds;
mod bridged;
mod causes;
mod entered;
mod hooks;
mod other_way;
mod routed_by;
mod traced;
mod traced_below;
mod tracking;
mod unlisted;

use std::os::fd::{AsFd, AsRawFd};

use probe_user::lab::Netns;
use serde_json::Value;

use crate::common::{
    self,
    net::{eventually, sh},
    run::{Ran, command},
};

/// A (`eth0`), a router (`eth0` towards A, `eth1` towards B), and B (`eth0`).
struct Routed {
    a: Netns,
    router: Netns,
    b: Netns,
}

const B: [&str; 2] = ["10.82.0.20", "fd82::20"];

impl Routed {
    fn new() -> Self {
        let [a, router, b] = std::array::from_fn(|_| Netns::new().expect("root can"));
        let routed = Self { a, router, b };
        routed.wire(&routed.a, "eth0");
        routed.wire(&routed.b, "eth1");
        let end = |netns: &Netns, net: u8, host: u8| {
            sh(
                netns,
                &format!(
                    "ip link set lo up
                     ip addr add 10.{net}.0.{host}/24 dev eth0 && ip addr add fd{net}::{host}/64 dev eth0 nodad
                     ip link set eth0 up
                     ip route add default via 10.{net}.0.1 && ip -6 route add default via fd{net}::1"
                ),
            );
        };
        sh(
            &routed.router,
            "ip link set lo up
             ip addr add 10.81.0.1/24 dev eth0 && ip addr add fd81::1/64 dev eth0 nodad && ip link set eth0 up
             ip addr add 10.82.0.1/24 dev eth1 && ip addr add fd82::1/64 dev eth1 nodad && ip link set eth1 up
             sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
             sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0",
        );
        end(&routed.a, 81, 10);
        end(&routed.b, 82, 20);
        for target in B {
            eventually("the way is there", || common::net::answers(&routed.a, target));
        }
        routed
    }

    /// A veth from the router's `name` to `eth0` of `end`.
    fn wire(&self, end: &Netns, name: &str) {
        let mut holder = end.command("sleep").arg("60").spawn().expect("sleep is there");
        let pid = holder.id();
        sh(
            &self.router,
            &format!("ip link add {name} type veth peer name far && ip link set far netns {pid} name eth0"),
        );
        holder.kill().expect("it is ours");
        holder.wait().expect("it ends");
    }

    fn diagnosed(&self, words: &str, two_sided: bool) -> Value {
        let mut command = command(&self.a, &format!("diagnose {words} -c 5 --format json"));
        command.env_remove("PROBE_OWN_NAMESPACE");
        if two_sided {
            command.arg("--peer").arg(format!("{} {} agent", entered(&self.b), env!("CARGO_BIN_EXE_probe")));
        }
        Ran::of(command.output().expect("probe starts")).json()
    }

    /// What a person reads.
    fn said(&self, words: &str) -> String {
        let mut command = command(&self.a, &format!("diagnose {words}"));
        command.env_remove("PROBE_OWN_NAMESPACE");
        let output = command.output().expect("probe starts");
        String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Both IP versions, with and without the far end.
    fn each(&self, mut holds: impl FnMut(Value, &str)) {
        for (target, version) in B.into_iter().zip(["v4", "v6"]) {
            for two_sided in [false, true] {
                holds(self.diagnosed(target, two_sided), &format!("{version}, two-sided: {two_sided}"));
            }
        }
    }
}

fn entered(netns: &Netns) -> String {
    format!("nsenter --net=/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd())
}

/// Whether root runs this, and a lab of its own.
fn routed(name: &str) -> Option<Routed> {
    common::is_root(name).then(Routed::new)
}

/// Asserts that all stop in the namespace `netns`, on this leg and in this layer; gives the stop.
fn stopped_in(document: &Value, netns: &Netns, leg: &str, layer: &str, what: &str) -> Value {
    let stops = document["stops"].as_array().expect("stops");
    assert_eq!(stops.len(), 1, "{what}: {stops:#?}");
    let stop = &stops[0];
    assert_eq!((&stop["host"], &stop["leg"]), (&"via".into(), &leg.into()), "{what}: {document:#}");
    assert_eq!(stop["layer"], layer, "{what}: {stop:#}");
    assert_eq!(document["verdict"]["confidence"], "certain", "{what}: {document:#}");
    let place =
        places(document).into_iter().find(|place| place["name"] == stop["place"]).expect("a place of that name");
    assert_eq!(place["netns"], netns.inode(), "{what}: {place}");
    stop.clone()
}

fn places(document: &Value) -> Vec<Value> {
    document["places"].as_array().expect("places").clone()
}

fn roles(document: &Value) -> Vec<String> {
    places(document).iter().map(|place| place["role"].as_str().expect("a role").to_owned()).collect()
}

const DROP: &str = "nft -f - <<'END'
table inet filter {
    chain forward {
        type filter hook forward priority 0;
        RULE
    }
}
END";

#[test]
fn a_healthy_router_and_a_healthy_target_are_places_and_nothing_is_accused() {
    let Some(lab) = routed("a_healthy_router_and_a_healthy_target_are_places_and_nothing_is_accused") else { return };
    lab.each(|document, what| {
        assert_eq!(document["verdict"]["outcome"], "delivered", "{what}: {document:#}");
        assert_eq!(document["stops"], Value::Array(Vec::new()), "{what}");
        assert_eq!(roles(&document), ["sender", "router", "target"], "{what}: {:#?}", places(&document));
        let router = &places(&document)[1];
        assert_eq!(router["interfaces"], serde_json::json!(["eth0", "eth1"]), "{what}: {router}");
        assert_eq!(router["legs"], serde_json::json!(["request", "reply"]), "{what}: {router}");
        for hop in document["hops"].as_array().expect("hops").iter().filter(|hop| hop["host"] == "via") {
            assert_eq!((&hop["state"], &hop["packets"]), (&"seen".into(), &5.into()), "{what}: {hop}");
        }
    });
}

#[test]
fn a_forward_chain_is_named_with_its_namespace_on_either_leg() {
    let Some(lab) = routed("a_forward_chain_is_named_with_its_namespace_on_either_leg") else { return };
    for (leg, kind) in [("request", "echo-request"), ("reply", "echo-reply")] {
        let rule = format!("icmp type {kind} drop\n icmpv6 type {kind} drop");
        sh(&lab.router, &DROP.replace("RULE", &rule));
        lab.each(|document, what| {
            let stop = stopped_in(&document, &lab.router, leg, "netfilter", what);
            assert_eq!(stop["cause"]["netfilter"]["chain"], "forward", "{what}: {stop:#}");
            let sentence = document["verdict"]["sentence"].as_str().expect("a sentence");
            assert!(sentence.contains("(a router on this host)"), "{what}: {sentence}");
            assert!(sentence.contains("nftables: inet filter, chain forward"), "{what}: {sentence}");
            let advice = stop["advice"].as_str().expect("advice");
            assert!(advice.contains("nsenter --net=/proc/"), "{what}: {advice}");
        });
        sh(&lab.router, "nft flush ruleset");
    }
}

#[test]
fn forwarding_that_is_off_is_named() {
    let Some(lab) = routed("forwarding_that_is_off_is_named") else { return };
    sh(&lab.router, "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
    lab.each(|document, what| {
        let stop = stopped_in(&document, &lab.router, "request", "route", what);
        let path = stop["cause"]["setting"]["path"].as_str().expect("a setting");
        assert!(path.contains("forward"), "{what}: {stop:#}");
    });
}

#[test]
fn a_route_that_is_none_is_named_by_its_type() {
    let Some(lab) = routed("a_route_that_is_none_is_named_by_its_type") else { return };
    for kind in ["blackhole", "unreachable", "prohibit"] {
        sh(&lab.router, &format!("ip route add {kind} {}/32 && ip -6 route add {kind} {}/128", B[0], B[1]));
        lab.each(|document, what| {
            let stop = stopped_in(&document, &lab.router, "request", "route", &format!("{kind}, {what}"));
            let detail = stop["cause"]["detail"].as_str().expect("a detail");
            assert!(detail.contains(kind), "{kind}, {what}: {detail}");
        });
        sh(&lab.router, &format!("ip route del {kind} {}/32 && ip -6 route del {kind} {}/128", B[0], B[1]));
    }
}

#[test]
fn no_route_strict_reverse_paths_and_a_ttl_that_ends_are_the_routers() {
    let Some(lab) = routed("no_route_strict_reverse_paths_and_a_ttl_that_ends_are_the_routers") else { return };
    for target in ["10.99.0.1", "fd99::1"] {
        stopped_in(&lab.diagnosed(target, false), &lab.router, "request", "route", target);
    }
    for target in B {
        let document = lab.diagnosed(&format!("{target} -t 1"), true);
        let stops = document["stops"].as_array().expect("stops");
        assert!(stops.iter().all(|stop| stop["host"] == "via"), "{document:#}");
    }
    sh(
        &lab.router,
        "sysctl -qw net.ipv4.conf.all.rp_filter=1
         ip addr del 10.81.0.1/24 dev eth0 && ip addr add 10.81.0.1/32 dev eth0 && ip route add 10.81.0.0/24 dev eth1",
    );
    let stop = stopped_in(&lab.diagnosed(B[0], false), &lab.router, "request", "route", "rp_filter");
    assert_eq!(stop["cause"]["reason"], "IP_RPFILTER", "{stop:#}");
    assert_eq!(stop["cause"]["setting"]["value"], "1", "{stop:#}");
}

#[test]
fn what_the_target_does_is_told_of_its_namespace_though_nobody_runs_there() {
    let Some(lab) = routed("what_the_target_does_is_told_of_its_namespace_though_nobody_runs_there") else { return };
    let chain =
        DROP.replace("forward", "input").replace("RULE", "icmp type echo-request drop\n icmpv6 type echo-request drop");
    sh(&lab.b, &chain);
    for target in B {
        let document = lab.diagnosed(target, false);
        let stop = stopped_in(&document, &lab.b, "request", "netfilter", target);
        assert_eq!(stop["cause"]["netfilter"]["chain"], "input", "{target}: {stop:#}");
        assert_eq!(roles(&document), ["sender", "router", "target"], "{target}");
    }
}

#[test]
fn a_masquerading_router_is_healthy_and_its_drop_is_its_own() {
    let Some(lab) = routed("a_masquerading_router_is_healthy_and_its_drop_is_its_own") else { return };
    let nat = "nft -f - <<'END'
table inet nat {
    chain post {
        type nat hook postrouting priority 100;
        oifname eth1 masquerade
    }
}
END";
    sh(&lab.router, nat);
    lab.each(|document, what| {
        assert_eq!(document["verdict"]["outcome"], "delivered", "{what}: {document:#}");
        assert_eq!(document["stops"], Value::Array(Vec::new()), "{what}");
    });
    sh(&lab.router, &DROP.replace("RULE", "meta l4proto { icmp, icmpv6 } drop"));
    lab.each(|document, what| {
        stopped_in(&document, &lab.router, "request", "netfilter", what);
    });
}

#[test]
fn its_own_namespace_alone_is_looked_at_where_that_is_asked_for() {
    let Some(lab) = routed("its_own_namespace_alone_is_looked_at_where_that_is_asked_for") else { return };
    sh(&lab.router, &DROP.replace("RULE", "meta l4proto icmp drop"));
    let document = lab.diagnosed(&format!("{} --own-namespace", B[0]), false);
    assert_eq!(document["stops"][0]["host"], "beyond", "{document:#}");
    assert_eq!(roles(&document), ["sender"], "{document:#}");
}
