//! More network namespaces and interfaces on the way than are looked at: that is told, and where packets end is not lost by it.

use std::fmt::Write as _;

use probe_user::lab::Netns;
use serde_json::Value;

use crate::common::{
    self,
    net::{answers, eventually, sh},
    run::{Ran, command},
};

/// As many routers as there are places besides the two ends, and two more, and the target.
const ROUTERS: u8 = 18;

/// Namespaces in a row: `e1` of each leads to `e0` of the next.
fn row() -> Vec<Netns> {
    let places: Vec<Netns> = (0..ROUTERS + 2).map(|_| Netns::new().expect("root can")).collect();
    for (net, pair) in (0..).zip(places.windows(2)) {
        let mut holder = pair[1].command("sleep").arg("60").spawn().expect("sleep is there");
        let near = format!(
            "ip link add e1 type veth peer name far && ip link set far netns {} name e0
             ip addr add 10.{net}.1.1/24 dev e1 && ip link set e1 up && ip link set lo up
             sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.e1.rp_filter=0
             ip route replace default via 10.{net}.1.2",
            holder.id()
        );
        sh(&pair[0], &near);
        holder.kill().expect("it is ours");
        holder.wait().expect("it ends");
        let mut far = format!(
            "ip addr add 10.{net}.1.2/24 dev e0 && ip link set e0 up
             sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.e0.rp_filter=0\n"
        );
        if net > 0 {
            writeln!(far, "ip route add 10.0.1.0/24 via 10.{net}.1.1").expect("a string takes it");
        }
        sh(&pair[1], &far);
    }
    places
}

fn diagnosed(sender: &Netns, target: &str) -> (Value, String) {
    let mut command = command(sender, &format!("diagnose {target} -c 3 --format json"));
    let ran = Ran::of(command.env_remove("PROBE_OWN_NAMESPACE").output().expect("probe starts"));
    (ran.json(), ran.stderr)
}

fn notes(document: &Value) -> Vec<&str> {
    let notes = document["notes"].as_array().expect("notes").iter();
    notes.filter_map(Value::as_str).filter(|note| note.starts_with("probes crossed ")).collect()
}

#[test]
fn more_places_than_are_looked_at_are_told_once_and_a_drop_in_one_of_them_is_still_found() {
    if !common::is_root("more_places_than_are_looked_at_are_told_once") {
        return;
    }
    let places = row();
    let (sender, target) = (&places[0], format!("10.{ROUTERS}.1.2"));
    eventually("the way is there", || answers(sender, &target));
    let (document, told) = diagnosed(sender, &target);
    assert_eq!(document["verdict"]["outcome"], "delivered", "{document:#}");
    let of_three = "probes crossed 3 more network namespaces about which nothing is reported: at most 16 are watched";
    assert_eq!(notes(&document), [of_three], "{document:#}");
    assert!(!told.contains("WARN"), "it is said in the document, and once: {told}");
    // In the last router, behind all that are looked at.
    let last = &places[usize::from(ROUTERS)];
    sh(
        last,
        "nft 'add table inet f; add chain inet f c { type filter hook forward priority 0; }'
         nft 'add rule inet f c icmp type echo-request drop'",
    );
    let (document, _) = diagnosed(sender, &target);
    let stop = super::stopped_in(&document, last, "request", "netfilter", "the last router");
    assert_eq!(stop["cause"]["reason"], "NETFILTER_DROP", "{stop:#}");
    let of_two = "probes crossed 2 more network namespaces about which nothing is reported: at most 16 are watched";
    assert_eq!(notes(&document), [of_two], "{document:#}");
}

#[test]
fn more_interfaces_than_are_looked_at_are_told_once() {
    if !common::is_root("more_interfaces_than_are_looked_at_are_told_once") {
        return;
    }
    // Bridges in a row between A and B, all of one namespace: each has two ports that packets cross.
    const BRIDGES: u8 = 40;
    let [a, switch, b] = std::array::from_fn(|_| Netns::new().expect("root can"));
    let mut lines = String::new();
    for bridge in 0..BRIDGES {
        let next = bridge + 1;
        writeln!(lines, "link add br{bridge} up type bridge").expect("a string takes it");
        writeln!(lines, "link add n{bridge} up type veth peer name p{next}").expect("a string takes it");
        writeln!(lines, "link set n{bridge} master br{bridge}").expect("a string takes it");
        if bridge > 0 {
            writeln!(lines, "link set p{bridge} up master br{bridge}").expect("a string takes it");
        }
    }
    sh(&switch, &format!("ip -batch - <<'END'\n{lines}END"));
    for (end, name, address) in [(&a, "p0".to_owned(), "10.71.0.1"), (&b, format!("p{BRIDGES}"), "10.71.0.2")] {
        let mut holder = end.command("sleep").arg("60").spawn().expect("sleep is there");
        let pid = holder.id();
        let handed = if name == "p0" {
            format!(
                "ip link add p0 up type veth peer name far && ip link set p0 master br0 && ip link set far netns {pid} name eth0"
            )
        } else {
            format!("ip link set {name} netns {pid} name eth0")
        };
        sh(&switch, &handed);
        holder.kill().expect("it is ours");
        holder.wait().expect("it ends");
        sh(end, &format!("ip link set lo up && ip addr add {address}/24 dev eth0 && ip link set eth0 up"));
    }
    eventually("the way is there", || answers(&a, "10.71.0.2"));
    let (document, told) = diagnosed(&a, "10.71.0.2");
    assert_eq!(document["verdict"]["outcome"], "delivered", "{document:#}");
    let expected = "probes crossed 64 interfaces: there may be more, about which nothing is reported";
    assert_eq!(notes(&document), [expected], "{document:#}");
    assert!(!told.contains("WARN"), "{told}");
}
