//! Echoes of other programs: `probe diagnose --passive` on the host that pings, on the one that is pinged and on a router, and
//! `probe run`, which follows one command. What `ping` itself says is held against each.

mod run;

use std::process::{Child, Stdio};

use probe_user::lab::Netns;
use serde_json::Value;

use crate::common::{
    self,
    net::{A4, B4, B6, Pair, sh},
    run::{Ran, probe},
};

/// Two hosts, where root runs this.
pub(super) fn pair(name: &str) -> Option<Pair> {
    common::is_root(name).then(Pair::new)
}

/// A `ping` of somebody's, twenty times a second; it ends with this.
struct Pinging(Child);

impl Pinging {
    fn start(netns: &Netns, words: &str) -> Self {
        let mut command = netns.command("ping");
        command.args(["-n", "-q", "-i", "0.05", "-w", "30"]).args(words.split_whitespace());
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("ping is there"))
    }
}

impl Drop for Pinging {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A rule at a hook that drops what it matches.
pub(super) fn drop_at(netns: &Netns, hook: &str, rule: &str) {
    sh(
        netns,
        &format!(
            "nft add table inet t && nft 'add chain inet t c {{ type filter hook {hook} priority 0; }}' && nft add rule inet t c {rule} drop"
        ),
    );
}

fn passive(netns: &Netns, words: &str) -> Ran {
    probe(netns, &format!("diagnose --passive --format json {words}"))
}

fn flows(document: &Value) -> Vec<Value> {
    document["followed"]["flows"].as_array().expect("flows").clone()
}

/// The flow with this id.
fn flow(document: &Value, id: u16) -> Value {
    flows(document).into_iter().find(|flow| flow["id"] == id).unwrap_or_else(|| panic!("{id}: {document:#}"))
}

#[test]
fn a_healthy_ping_is_followed_over_every_hop_and_nothing_is_sent() {
    let Some(pair) = pair("a_healthy_ping_is_followed_over_every_hop_and_nothing_is_sent") else { return };
    for target in [B4.to_string(), B6.to_string()] {
        let ping = Pinging::start(&pair.a, &format!("-e 4711 {target}"));
        let document = passive(&pair.a, &format!("-c 5 -w 20 {target}")).done().json();
        assert_eq!(document["verdict"]["outcome"], "delivered", "{document:#}");
        assert_eq!((&document["sent"], &document["answered"]), (&5.into(), &5.into()), "{document:#}");
        let told = flow(&document, 4711);
        assert_eq!((&told["role"], &told["program"]), (&"sender".into(), &"ping".into()), "{told}");
        assert_eq!(told["pid"], ping.0.id(), "{told}");
        let hops = document["hops"].as_array().expect("hops");
        let missing: Vec<&Value> = hops.iter().filter(|hop| hop["state"] == "missing").collect();
        let may =
            |hop: &&&Value| !["icmp_in", "socket_in", "cgroup_out"].contains(&hop["hop"].as_str().expect("a name"));
        assert_eq!(missing.iter().filter(may).count(), 0, "{missing:#?}");
        // Whatever left A left it with the id of that ping.
        assert_eq!(flows(&document).len(), 1, "{document:#}");
    }
}

#[test]
fn of_two_pings_beside_each_other_the_verdict_is_on_the_one_that_a_rule_drops() {
    let Some(pair) = pair("of_two_pings_beside_each_other_the_verdict_is_on_the_one_that_a_rule_drops") else { return };
    drop_at(&pair.a, "output", "icmp type echo-request icmp id 7");
    let _lost = Pinging::start(&pair.a, &format!("-e 7 {B4}"));
    let _healthy = Pinging::start(&pair.a, &format!("-e 8 {B4}"));
    let ran = passive(&pair.a, &format!("-c 12 -w 20 {B4}"));
    assert_eq!(ran.code, 1, "{ran:?}");
    let document = ran.json();
    assert_eq!(document["verdict"]["outcome"], "stopped", "{document:#}");
    assert_eq!(document["verdict"]["confidence"], "certain", "{document:#}");
    let stop = &document["stops"][0];
    assert_eq!(
        (&stop["host"], &stop["layer"], &stop["leg"]),
        (&"local".into(), &"netfilter".into(), &"request".into())
    );
    assert_eq!(stop["cause"]["netfilter"]["hook"], "output", "{stop:#}");
    assert_eq!((flows(&document)[0]["id"].clone(), flow(&document, 7)["answered"].clone()), (7.into(), 0.into()));
    let healthy = flow(&document, 8);
    assert_eq!(healthy["answered"], healthy["requests"], "{healthy}");
    // And with an id only the one that has it.
    let document = passive(&pair.a, "-e 8 -c 3 -w 20").done().json();
    assert_eq!((flows(&document).len(), &document["answered"]), (1, &3.into()), "{document:#}");
}

#[test]
fn what_the_far_end_drops_is_beyond_this_host_and_in_the_input_chain_of_that() {
    let Some(pair) = pair("what_the_far_end_drops_is_beyond_this_host_and_in_the_input_chain_of_that") else { return };
    drop_at(&pair.b, "input", "icmp type echo-request");
    let _ping = Pinging::start(&pair.a, &format!("-e 9 {B4}"));
    let here = passive(&pair.a, &format!("-c 5 -w 20 {B4}"));
    assert_eq!(here.code, 1, "{here:?}");
    let here = here.json();
    assert_eq!((&here["stops"][0]["host"], &here["stops"][0]["packets"]), (&"beyond".into(), &5.into()), "{here:#}");
    // The host that is asked: neither its own address nor its part in it has to be said.
    let there = passive(&pair.b, "-c 5 -w 20").json();
    assert_eq!((&flow(&there, 9)["role"], &there["sent"]), (&"target".into(), &5.into()), "{there:#}");
    let stop = &there["stops"][0];
    assert_eq!((&stop["host"], &stop["cause"]["netfilter"]["hook"]), (&"local".into(), &"input".into()), "{stop:#}");
    assert_eq!(stop["confidence"], "certain", "{stop:#}");
}

#[test]
fn a_reply_that_came_back_and_was_dropped_here_is_told_of_the_reply() {
    let Some(pair) = pair("a_reply_that_came_back_and_was_dropped_here_is_told_of_the_reply") else { return };
    drop_at(&pair.a, "input", "icmp type echo-reply");
    let _ping = Pinging::start(&pair.a, &format!("-e 10 {B4}"));
    let document = passive(&pair.a, &format!("-c 5 -w 20 {B4}")).json();
    let stop = &document["stops"][0];
    assert_eq!((&stop["host"], &stop["leg"]), (&"local".into(), &"reply".into()), "{document:#}");
    assert_eq!(stop["cause"]["netfilter"]["hook"], "input", "{stop:#}");
    // The one that answers sees its replies leave.
    let there = passive(&pair.b, &format!("-c 5 -w 20 {B4}")).done().json();
    assert_eq!((&there["answered"], &flow(&there, 10)["from"]), (&5.into(), &A4.to_string().into()), "{there:#}");
}

#[test]
fn echoes_that_cross_this_host_are_followed_from_device_to_device() {
    if !common::is_root("echoes_that_cross_this_host_are_followed_from_device_to_device") {
        return;
    }
    let [a, router, b] = std::array::from_fn(|_| Netns::new().expect("root can"));
    for (end, port, net) in [(&a, "eth0", 83), (&b, "eth1", 84)] {
        let mut holder = end.command("sleep").arg("60").spawn().expect("sleep is there");
        sh(
            &router,
            &format!(
                "ip link add {port} type veth peer name far && ip link set far netns {} name eth0
                 ip addr add 10.{net}.0.1/24 dev {port} && ip link set {port} up && sysctl -qw net.ipv4.ip_forward=1
                 sysctl -qw net.ipv4.conf.all.rp_filter=0",
                holder.id()
            ),
        );
        holder.kill().expect("it is ours");
        holder.wait().expect("it ends");
        sh(
            end,
            &format!(
                "ip link set lo up && ip addr add 10.{net}.0.9/24 dev eth0 && ip link set eth0 up
                 ip route add default via 10.{net}.0.1"
            ),
        );
    }
    common::net::eventually("the way is there", || common::net::answers(&a, "10.84.0.9"));
    let _ping = Pinging::start(&a, "-e 11 10.84.0.9");
    let document = passive(&router, "-c 5 -w 20").done().json();
    assert_eq!((&document["answered"], &flow(&document, 11)["role"]), (&5.into(), &"router".into()), "{document:#}");
    drop_at(&router, "forward", "icmp type echo-request");
    let document = passive(&router, "-c 5 -w 20 10.84.0.9").json();
    let stop = &document["stops"][0];
    assert_eq!(
        (&stop["host"], &stop["cause"]["netfilter"]["hook"]),
        (&"local".into(), &"forward".into()),
        "{document:#}"
    );
}

#[test]
fn where_nobody_pings_nothing_is_claimed() {
    let Some(pair) = pair("where_nobody_pings_nothing_is_claimed") else { return };
    let ran = passive(&pair.a, &format!("-w 0.3 {B4}"));
    assert_eq!(ran.code, 2, "{ran:?}");
    let document = ran.json();
    assert_eq!((&document["verdict"]["outcome"], &document["sent"]), (&"inconclusive".into(), &0.into()));
    assert_eq!(flows(&document), Vec::<Value>::new());
}
