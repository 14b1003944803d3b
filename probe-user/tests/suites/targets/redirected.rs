//! What tc or nftables redirects at a device, past routing: told at that device; a mirror is no redirection.

use serde_json::Value;

use crate::common::{
    self,
    net::{Pair, sh},
};
use crate::honesty::diagnosed::{acquitted, diagnosed};

/// How IPv4 is redirected from `{device}` to a bridge without ports: with tc, and with nftables.
const TC: &str = "tc qdisc add dev {device} clsact
                  tc filter add dev {device} {way} protocol ip prio 1 u32 match u8 0 0 action mirred egress {action} dev d0";
const NFT: &str =
    "nft 'add table netdev t; add chain netdev t c { type filter hook {way} device \"{device}\" priority 0; }'
                   nft 'add rule netdev t c ip protocol icmp fwd to d0'";

/// A pair of which one host does that.
fn redirecting(on_peer: bool, how: &str, way: &str) -> Pair {
    let pair = Pair::new();
    let (netns, device) = if on_peer { (&pair.b, "vb") } else { (&pair.a, "va") };
    sh(netns, "ip link add d0 type bridge && ip link set d0 up");
    sh(netns, &how.replace("{device}", device).replace("{way}", way));
    pair
}

#[test]
fn what_is_redirected_past_routing_is_told_at_its_device() {
    if !common::is_root("what_is_redirected_past_routing_is_told_at_its_device") {
        return;
    }
    let tc = TC.replace("{action}", "redirect");
    let cases = [
        (false, tc.as_str(), "egress", "request", "tc"),
        (true, tc.as_str(), "ingress", "request", "tc"),
        (true, NFT, "egress", "reply", "netfilter"),
        (false, NFT, "ingress", "reply", "netfilter"),
    ];
    for (on_peer, how, way, leg, layer) in cases {
        let pair = redirecting(on_peer, how, way);
        let document = diagnosed(&pair, "10.9.0.2 --format json").json();
        let what = format!("{way} {leg}: {document:#}");
        assert_eq!(document["stops"].as_array().map(Vec::len), Some(1), "{what}");
        let stop = &document["stops"][0];
        let (host, device) = if on_peer { ("peer", "vb") } else { ("local", "va") };
        let said: [&Value; 4] = [&stop["leg"], &stop["host"], &stop["layer"], &stop["cause"]["detail"]];
        assert_eq!(said, [leg, host, layer, &format!("redirected from {device} to d0")], "{what}");
        let sentence = document["verdict"]["sentence"].as_str().expect("a sentence");
        assert!(sentence.contains(&format!("redirected from {device} to d0")), "{what}");
        let commands = stop["commands"].to_string();
        assert!(commands.contains(if how == NFT { "netdev t c" } else { device }), "{what}");
    }
}

#[test]
fn a_mirror_redirects_nothing() {
    if !common::is_root("a_mirror_redirects_nothing") {
        return;
    }
    for (on_peer, way) in [(false, "egress"), (true, "ingress")] {
        let pair = redirecting(on_peer, &TC.replace("{action}", "mirror"), way);
        let document = acquitted(way, &diagnosed(&pair, "10.9.0.2 --format json"), 10);
        assert!(!document.to_string().contains("redirected"), "{document:#}");
    }
}
