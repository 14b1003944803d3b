//! Diagnoses from A over two routers in a row to B, with agents on the routers (`--via`), each as a machine of its own: with
//! its host name, and with a kernel that nothing but its agent shows.

use std::{
    os::fd::{AsFd, AsRawFd},
    process::Output,
};

use probe_ebpf::ABI_VERSION;
use probe_user::{lab::Netns, peer::protocol::PROTOCOL};
use serde_json::{Value, json};

use crate::common::{
    self,
    net::{answers, eventually, sh},
    run::{Ran, command},
};

const PROBE: &str = env!("CARGO_BIN_EXE_probe");
const B: [&str; 2] = ["10.93.0.20", "fd93::20"];

/// A (`eth0`) – R1 (`eth0`, `eth1`) – R2 (`eth0`, `eth1`) – B (`eth0`), and R3 (`eth0` to A, `eth1` to B), which nobody uses
/// unless a test sends them there.
struct Row {
    a: Netns,
    routers: [Netns; 3],
    b: Netns,
}

impl Row {
    fn new() -> Self {
        let [a, b] = std::array::from_fn(|_| Netns::new().expect("root can"));
        let row = Self { a, routers: std::array::from_fn(|_| Netns::new().expect("root can")), b };
        let [r1, r2, r3] = &row.routers;
        for (one, other) in
            [((&row.a, "eth0"), (r1, "eth0")), ((r1, "eth1"), (r2, "eth0")), ((r2, "eth1"), (&row.b, "eth0"))]
        {
            wire(one, other);
        }
        wire((&row.a, "eth1"), (r3, "eth0"));
        wire((&row.b, "eth1"), (r3, "eth1"));
        up(&row.a, &[("eth0", 91, 10), ("eth1", 94, 10)], "91");
        up(r1, &[("eth0", 91, 1), ("eth1", 92, 1)], "");
        up(r2, &[("eth0", 92, 2), ("eth1", 93, 1)], "");
        up(r3, &[("eth0", 94, 1), ("eth1", 95, 1)], "");
        up(&row.b, &[("eth0", 93, 20), ("eth1", 95, 20)], "93");
        sh(r1, "ip route add 10.93.0.0/24 via 10.92.0.2 && ip -6 route add fd93::/64 via fd92::2");
        sh(r2, "ip route add 10.91.0.0/24 via 10.92.0.1 && ip -6 route add fd91::/64 via fd92::1");
        sh(r3, "ip route add 10.91.0.0/24 via 10.94.0.10 && ip -6 route add fd91::/64 via fd94::10");
        for target in B {
            eventually("the way is there", || answers(&row.a, target));
        }
        row
    }

    /// `probe diagnose WORDS` on A with these agents.
    fn run(&self, words: &str, agents: &[(&str, String)]) -> Output {
        let mut command = command(&self.a, &format!("diagnose {words} -c 3"));
        for (flag, agent) in agents {
            command.arg(flag).arg(agent);
        }
        command.output().expect("probe starts")
    }

    fn diagnosed(&self, words: &str, agents: &[(&str, String)]) -> Value {
        Ran::of(self.run(&format!("{words} --format json"), agents)).json()
    }

    /// The command that reaches an agent on this router.
    fn on(&self, router: usize) -> String {
        machine(&self.routers[router - 1], &format!("r{router}"))
    }

    /// Agents on both routers, the farther one first, and one on B.
    fn all(&self) -> [(&'static str, String); 3] {
        [("--via", self.on(2)), ("--via", self.on(1)), ("--peer", machine(&self.b, "b"))]
    }
}

/// A veth between two namespaces.
fn wire((one, name): (&Netns, &str), (other, far): (&Netns, &str)) {
    let mut holder = other.command("sleep").arg("60").spawn().expect("sleep is there");
    sh(one, &format!("ip link add {name} type veth peer name far && ip link set far netns {} name {far}", holder.id()));
    holder.kill().expect("it is ours");
    holder.wait().expect("it ends");
}

/// Gives interfaces their addresses, with a default route over the first router of `net` where there is one.
fn up(netns: &Netns, interfaces: &[(&str, u8, u8)], net: &str) {
    sh(
        netns,
        "ip link set lo up && sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0",
    );
    for (name, net, host) in interfaces {
        sh(
            netns,
            &format!(
                "sysctl -qw net.ipv4.conf.{name}.rp_filter=0
                 ip addr add 10.{net}.0.{host}/24 dev {name} && ip addr add fd{net}::{host}/64 dev {name} nodad
                 ip link set {name} up"
            ),
        );
    }
    if !net.is_empty() {
        sh(netns, &format!("ip route add default via 10.{net}.0.1 && ip -6 route add default via fd{net}::1"));
    }
}

/// A command that reaches an agent in a namespace as if that were a machine with this name.
fn machine(netns: &Netns, name: &str) -> String {
    let inside = format!(
        "hostname {name}; f=$(mktemp); echo boot-of-{name} >$f; mount --bind $f /proc/sys/kernel/random/boot_id; rm $f; \
         exec {PROBE} agent"
    );
    format!("{} unshare --uts --mount sh -c '{inside}'", entered(netns))
}

fn entered(netns: &Netns) -> String {
    format!("nsenter --net=/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd())
}

fn row(name: &str) -> Option<Row> {
    common::is_root(name).then(Row::new)
}

fn names(document: &Value) -> Vec<&str> {
    document["places"].as_array().expect("places").iter().map(|place| place["name"].as_str().expect("a name")).collect()
}

/// Asserts that all stop on that host, in this layer; gives the stop.
fn stopped_on(document: &Value, host: &str, layer: &str) -> Value {
    let stops = document["stops"].as_array().expect("stops");
    assert_eq!(stops.len(), 1, "{stops:#?}");
    let stop = &stops[0];
    assert_eq!(
        (&stop["host"], &stop["place"], &stop["layer"]),
        (&json!("via"), &json!(host), &json!(layer)),
        "{stop:#}"
    );
    assert_eq!(document["verdict"]["confidence"], "certain", "{document:#}");
    let place = document["places"].as_array().expect("places").iter().find(|place| place["name"] == host);
    assert_eq!(place.map(|place| &place["host"]), Some(&json!(host)), "{document:#}");
    stop.clone()
}

fn notes(document: &Value) -> Vec<&str> {
    document["notes"].as_array().expect("notes").iter().map(|note| note.as_str().expect("text")).collect()
}

#[test]
fn a_healthy_way_over_two_routers_is_told_in_its_order_and_who_is_not_on_it() {
    let Some(row) = row("a_healthy_way_over_two_routers_is_told_in_its_order_and_who_is_not_on_it") else { return };
    let target = B[1];
    let mut agents = row.all().to_vec();
    agents.insert(1, ("--via", row.on(3)));
    let document = row.diagnosed(target, &agents);
    assert_eq!(document["verdict"]["outcome"], "delivered", "{document:#}");
    assert_eq!(document["stops"], json!([]), "{target}");
    assert_eq!(names(&document)[1..], ["r1", "r2", "b"], "{target}");
    let hops = document["hops"].as_array().expect("hops").iter().filter(|hop| hop["host"] == "via");
    let mut seen = 0;
    for hop in hops {
        assert_eq!((&hop["state"], &hop["packets"]), (&json!("seen"), &json!(3)), "{target}: {hop}");
        seen += usize::from(hop["hop"] == "nf_forward_last");
    }
    assert_eq!(seen, 4, "each of two routers forwards either leg");
    assert_eq!(notes(&document), ["r3 saw none of them: it is not on the way"], "{target}");
    let vias = document["vias"].as_array().expect("vias");
    assert_eq!(vias.iter().map(|via| &via["hostname"]).collect::<Vec<_>>(), ["r2", "r3", "r1"], "as they were typed");
}

#[test]
fn what_a_router_does_to_them_is_told_of_that_router() {
    let Some(row) = row("what_a_router_does_to_them_is_told_of_that_router") else { return };
    let [r1, r2, _] = &row.routers;
    sh(
        r2,
        "nft add table inet filter
         nft 'add chain inet filter forward { type filter hook forward priority 0; }'
         nft add rule inet filter forward icmpv6 type echo-request drop",
    );
    let document = row.diagnosed(&format!("{} --trace-rules", B[1]), &row.all());
    let stop = stopped_on(&document, "r2", "netfilter");
    assert_eq!(stop["cause"]["netfilter"]["chain"], "forward", "{stop:#}");
    assert_eq!(
        (&stop["last_seen"]["hop"], &stop["first_missing"]["hop"]),
        (&json!("nf_forward_first"), &json!("nf_forward_last"))
    );
    assert!(stop["advice"].as_str().is_some_and(|advice| advice.starts_with("on r2: nft ")), "{stop:#}");
    assert!(
        notes(&document).iter().any(|note| note.starts_with("on r2 the rule \"icmpv6 type echo-request drop\"")),
        "{document:#}"
    );
    sh(r2, "nft flush ruleset");

    sh(r1, "ip route del 10.93.0.0/24");
    let document = row.diagnosed(B[0], &row.all()[..2]);
    let stop = stopped_on(&document, "r1", "route");
    assert_eq!(stop["cause"]["detail"], "no route to 10.93.0.20", "{stop:#}");
    let off = "r2 saw none of them: they stop before they reach it, or it is not on the way";
    assert_eq!(notes(&document), [off]);
    sh(r1, "ip route add 10.93.0.0/24 via 10.92.0.2");

    let stop = stopped_on(&row.diagnosed(&format!("{} -t 2 --no-controls", B[1]), &row.all()[..2]), "r2", "route");
    assert_eq!(stop["cause"]["icmp"]["meaning"], "TTL ran out", "{stop:#}");

    sh(r2, "ip link set eth1 mtu 1300");
    let stop = stopped_on(&row.diagnosed(&format!("{} -s 1400 --df --no-controls", B[0]), &row.all()[..1]), "r2", "ip");
    assert_eq!(stop["cause"]["reason"], "PKT_TOO_BIG", "{stop:#}");
    assert!(stop["cause"]["detail"].as_str().is_some_and(|text| text.contains("the MTU of eth1")), "{stop:#}");
}

#[test]
fn a_router_without_an_agent_leaves_a_gap_with_the_names_of_both_ends() {
    let Some(row) = row("a_router_without_an_agent_leaves_a_gap_with_the_names_of_both_ends") else { return };
    let [r1, r2, r3] = &row.routers;
    let drop = "nft add table inet filter
        nft 'add chain inet filter forward { type filter hook forward priority 0; }'
        nft add rule inet filter forward icmp type echo-request drop";
    sh(r2, drop);
    let document = row.diagnosed(B[0], &row.all()[1..]);
    let stop = &document["stops"][0];
    assert_eq!((&stop["host"], &stop["place"]), (&json!("network"), &Value::Null), "{document:#}");
    let sentence = document["verdict"]["sentence"].as_str().expect("a sentence");
    assert!(sentence.contains("left r1 and never reached b"), "{sentence}");
    sh(r2, "nft flush ruleset");

    // The first one has none, and drops them before the second one can see any.
    sh(r1, drop);
    let document = row.diagnosed(B[0], &row.all()[..1]);
    assert_eq!(document["stops"][0]["host"], "beyond", "{document:#}");
    let off = "r2 saw none of them: they stop before they reach it, or it is not on the way";
    assert_eq!(notes(&document), [off]);
    sh(r1, "nft flush ruleset");

    // Replies take another way.
    sh(&row.b, "ip route add 10.91.0.0/24 via 10.95.0.1");
    let agents = [("--via", row.on(3)), ("--via", row.on(1))];
    let document = row.diagnosed(B[0], &agents);
    assert_eq!(document["verdict"]["outcome"], "delivered", "{document:#}");
    let way = "replies come back another way than requests go: through r3, not through r1";
    assert!(notes(&document).contains(&way), "{:?}", notes(&document));
    sh(r3, &drop.replace("echo-request", "echo-reply"));
    let stop = stopped_on(&row.diagnosed(B[0], &agents[..1]), "r3", "netfilter");
    assert_eq!(stop["leg"], "reply", "{stop:#}");
}

#[test]
fn a_peer_on_a_router_is_a_place_and_one_namespace_is_one_place() {
    let Some(row) = row("a_peer_on_a_router_is_a_place_and_one_namespace_is_one_place") else { return };
    let document = row.diagnosed(B[0], &[("--via", row.on(2)), ("--peer", row.on(1))]);
    assert_eq!(document["verdict"]["outcome"], "delivered", "{document:#}");
    assert_eq!((&names(&document)[1..], &document["sides"]["peer"]), (&["r1", "r2"][..], &Value::Null), "{document:#}");
    let note = "r1, which --peer reaches, is on the way and forwarded them: 10.93.0.20 answered";
    assert!(notes(&document).contains(&note), "{:?}", notes(&document));
    let sentence = document["verdict"]["sentence"].as_str().expect("a sentence");
    assert!(sentence.starts_with("All 3 requests were answered by 10.93.0.20"), "{sentence}");

    // The sender's own kernel shows every namespace, also the one that an agent is in.
    let mut command = command(&row.a, &format!("diagnose {} -c 3 --format json", B[1]));
    command.env_remove("PROBE_OWN_NAMESPACE").arg("--via").arg(format!("{} {PROBE} agent", entered(&row.routers[1])));
    let document = Ran::of(command.output().expect("probe starts")).json();
    let inodes: Vec<&Value> =
        document["places"].as_array().expect("places").iter().map(|place| &place["netns"]).collect();
    let expected = [&row.a, &row.routers[0], &row.routers[1], &row.b].map(|netns| json!(netns.inode()));
    assert_eq!(inodes, expected.iter().collect::<Vec<_>>(), "{document:#}");
    assert_eq!(notes(&document), Vec::<&str>::new());
}

/// One that says this hello, and answers `answers` requests as one that sees nothing.
fn fake(hello: &Value, answers: usize) -> String {
    let host = json!({ "hostname": "fake", "interface": "", "address": null, "kernel": "6", "xdp_mode": "off" });
    let ready = json!({ "number": 1, "message": { "ready": { "host": host, "blind": {} } } });
    let clock = |number| json!({ "number": number, "message": { "clock": 1 } });
    let lines = std::iter::once(ready).chain((2..).map(clock)).take(answers);
    let said: String = lines.map(|line| format!("read line; echo '{line}'; ")).collect();
    format!("echo '{}'; {said} read line", json!({ "probe_hello": hello }))
}

#[test]
fn whichever_agent_fails_is_told_in_a_sentence_and_the_run_goes_on_without_it() {
    let Some(row) = row("whichever_agent_fails_is_told_in_a_sentence_and_the_run_goes_on_without_it") else { return };
    let hello = |protocol: u32, offers: &[&str]| json!({ "protocol": protocol, "abi": ABI_VERSION, "version": "0.0.9", "hostname": "fake", "kernel": "6", "offers": offers });
    let trouble = json!({ "error": "it must be root", "fix": "sudo probe agent" });
    let mut unprivileged = hello(PROTOCOL, &[]);
    unprivileged["trouble"] = trouble;
    let cases = [
        ("false".to_owned(), "the command ended before an agent spoke (exit status 1)"),
        (fake(&hello(PROTOCOL + 1, &["watch"]), 0), "that agent uses peer protocol"),
        (fake(&hello(PROTOCOL, &["watch", "send"]), 0), "that agent (probe 0.0.9) does not offer to look on"),
        (fake(&unprivileged, 0), "that agent: it must be root"),
        (fake(&hello(PROTOCOL, &["watch", "look_on"]), 5), "that agent is gone"),
        (row.on(1), "reaches the network namespace on r1 that --via"),
    ];
    let mut agents = vec![("--via", row.on(1))];
    agents.extend(cases.iter().map(|(command, _)| ("--via", command.clone())));
    let ran = Ran::of(row.run(&format!("{} --format json", B[0]), &agents));
    let document = ran.json();
    assert_eq!(document["verdict"]["outcome"], "delivered", "{document:#}");
    assert_eq!(names(&document)[1..], ["r1"], "{document:#}");
    for (command, said) in &cases {
        let about =
            ran.stderr.lines().filter(|line| line.contains(&format!("--via '{command}'")) && line.contains(said));
        assert_eq!(about.count(), 1, "{command}, {said}: {}", ran.stderr);
    }
    assert_eq!(ran.stderr.lines().count(), cases.len(), "{}", ran.stderr);
}
