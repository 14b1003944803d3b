//! Devices on top of the veth pair: a bridge, a macvlan, a VLAN, a bond, and tunnels of all kinds.

use std::io::{self, Write};

use probe_user::lab::Netns;
use serde_json::Value;

use crate::common::{
    self,
    net::{Pair, device, eventually, sh},
};
use crate::honesty::diagnosed::{acquitted, diagnosed};

/// A device on top: how it is made from `{lower}` on a host whose number is `{me}`, the other's being `{it}`.
struct Stack {
    /// The kind, and the name of the device.
    kind: &'static str,
    make: &'static str,
}

const STACKS: [Stack; 10] = [
    Stack { kind: "bridge", make: "ip link add top type bridge && ip link set {lower} master top" },
    Stack { kind: "macvlan", make: "ip link add link {lower} name top type macvlan mode bridge" },
    Stack { kind: "vlan", make: "ip link add link {lower} name top type vlan id 5" },
    Stack {
        kind: "bond",
        make: "ip link add top type bond mode active-backup && ip link set {lower} down && ip link set {lower} master top",
    },
    Stack { kind: "vxlan", make: "ip link add top type vxlan id 7 local 10.9.0.{me} remote 10.9.0.{it} dstport 4789" },
    Stack { kind: "gre", make: "ip link add top type gre local 10.9.0.{me} remote 10.9.0.{it}" },
    Stack { kind: "ipip", make: "ip link add top type ipip local 10.9.0.{me} remote 10.9.0.{it}" },
    Stack { kind: "sit", make: "ip link add top type sit local 10.9.0.{me} remote 10.9.0.{it}" },
    Stack { kind: "geneve", make: "ip link add top type geneve id 7 remote 10.9.0.{it}" },
    Stack { kind: "ipvlan", make: "ip link add link {lower} name top type ipvlan mode l2" },
];

/// The far end of the devices on top.
const TOP_B4: &str = "10.8.0.2";
const TOP_B6: &str = "fd08::2";

/// A pair with a device on top at both ends; nothing, and a loud word, where the kernel has no such kind.
fn stacked(stack: &Stack) -> Option<Pair> {
    let pair = Pair::new();
    for (netns, lower, me, it) in [(&pair.a, "va", "1", "2"), (&pair.b, "vb", "2", "1")] {
        let make = stack.make.replace("{lower}", lower).replace("{me}", me).replace("{it}", it);
        let made = netns.command("sh").args(["-ec", &make]).output().expect("sh is there");
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        if said.contains("Unknown device type") || said.contains("Operation not supported") {
            // Unlike eprintln, which the test harness swallows. No skip: it is the kernel that has none.
            let _ = writeln!(io::stderr(), "not tried: this kernel has no {}", stack.kind);
            return None;
        }
        assert!(made.status.success(), "{make}: {said}");
        sh(
            netns,
            &format!(
                "ip link set {lower} up
                 ip addr add 10.8.0.{me}/24 dev top && ip -6 addr add fd08::{me}/64 dev top nodad
                 ip link set top up"
            ),
        );
    }
    for netns in [&pair.a, &pair.b] {
        eventually("the link is up", || device(netns, "top").is_some_and(|device| device.carrier));
    }
    // Who is at the other end is learned before anything is counted.
    eventually("the far end answers", || answers(&pair.a, TOP_B4));
    Some(pair)
}

fn answers(netns: &Netns, target: &str) -> bool {
    let ping = netns.command("ping").args(["-n", "-q", "-c", "1", "-W", "1", target]).output();
    ping.expect("ping is there").status.success()
}

#[test]
fn through_devices_on_devices_healthy_is_healthy_and_counted_once() {
    if !common::is_root("through_devices_on_devices_healthy_is_healthy_and_counted_once") {
        return;
    }
    for stack in &STACKS {
        let Some(pair) = stacked(stack) else { continue };
        for words in [TOP_B4.to_owned(), format!("{TOP_B4} -s 3000")] {
            let ran = diagnosed(&pair, &format!("{words} -W 10 --format json"));
            let document = acquitted(&format!("{} {words}", stack.kind), &ran, 10);
            assert_eq!(document["sides"]["local"]["interface"], "top", "{}", stack.kind);
            assert!(document["notes"].as_array().expect("notes").is_empty(), "{}: {}", stack.kind, document["notes"]);
        }
        // Tunnels of IPv4 alone have no IPv6 inside.
        if !matches!(stack.kind, "ipip" | "sit") {
            eventually("the far end answers IPv6", || answers(&pair.a, TOP_B6));
            acquitted(stack.kind, &diagnosed(&pair, &format!("{TOP_B6} -W 10 --format json")), 10);
        }
    }
}

/// The only stop of a diagnosis in which nothing comes back.
fn stop(pair: &Pair, what: &str) -> Value {
    let document = diagnosed(pair, &format!("{TOP_B4} --format json")).json();
    assert_eq!(document["verdict"]["outcome"], "stopped", "{what}: {document:#}");
    assert_eq!(document["stops"].as_array().map(Vec::len), Some(1), "{what}: {document:#}");
    document["stops"][0].clone()
}

#[test]
fn a_drop_behind_them_is_the_far_hosts() {
    if !common::is_root("a_drop_behind_them_is_the_far_hosts") {
        return;
    }
    for stack in &STACKS {
        let Some(pair) = stacked(stack) else { continue };
        sh(
            &pair.b,
            "nft 'add table inet t; add chain inet t c { type filter hook input priority 0; }'
             nft 'add rule inet t c icmp type echo-request drop'",
        );
        let stop = stop(&pair, stack.kind);
        for (field, value) in [("host", "peer"), ("layer", "netfilter"), ("confidence", "certain")] {
            assert_eq!(stop[field], value, "{}: {stop:#}", stack.kind);
        }
        assert_eq!(stop["cause"]["netfilter"]["hook"], "input", "{}", stack.kind);
    }
}

/// A chain at one device that drops every echo.
fn drop_at(netns: &Netns, interface: &str, hook: &str) {
    sh(
        netns,
        &format!(
            "nft 'add table netdev t; add chain netdev t c {{ type filter hook {hook} device \"{interface}\" priority 0; }}'
             nft 'add rule netdev t c ether type ip ip protocol icmp drop'"
        ),
    );
}

#[test]
fn a_drop_below_them_is_located_at_its_host() {
    if !common::is_root("a_drop_below_them_is_located_at_its_host") {
        return;
    }
    for stack in STACKS.iter().filter(|stack| ["bridge", "macvlan"].contains(&stack.kind)) {
        for (host, hook) in [("local", "egress"), ("peer", "ingress")] {
            let Some(pair) = stacked(stack) else { continue };
            let (netns, interface) = if host == "local" { (&pair.a, "va") } else { (&pair.b, "vb") };
            drop_at(netns, interface, hook);
            let what = format!("{} {host} {hook}", stack.kind);
            let stop = stop(&pair, &what);
            assert_eq!((&stop["host"], &stop["layer"]), (&host.into(), &"netfilter".into()), "{what}: {stop:#}");
            assert_eq!(stop["cause"]["netfilter"]["hook"], hook, "{what}: {stop:#}");
        }
    }
}

#[test]
fn a_drop_of_what_carries_a_tunnel_is_located_at_its_host() {
    if !common::is_root("a_drop_of_what_carries_a_tunnel_is_located_at_its_host") {
        return;
    }
    let vxlan = STACKS.iter().find(|stack| stack.kind == "vxlan").expect("it is listed");
    let Some(pair) = stacked(vxlan) else { return };
    sh(
        &pair.b,
        "nft 'add table inet t; add chain inet t c { type filter hook input priority 0; }'
         nft 'add rule inet t c udp dport 4789 drop'",
    );
    let stop = stop(&pair, "vxlan");
    for (field, value) in [("host", "peer"), ("layer", "netfilter"), ("confidence", "certain")] {
        assert_eq!(stop[field], value, "{stop:#}");
    }
    assert_eq!((&stop["cause"]["netfilter"]["hook"], &stop["carried"]["kind"]), (&"input".into(), &"vxlan".into()));
}
