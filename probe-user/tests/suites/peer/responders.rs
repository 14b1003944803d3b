//! Who answers at the far end: its kernel, its agent or XDP; what each takes out of the question, and who can't.

use std::{
    os::fd::{AsFd, AsRawFd},
    process::{Output, Stdio},
};

use probe_ebpf::Family;
use probe_user::lab::{LabHost, Topology};
use serde_json::Value;

use super::probes::{address, lab, sh};
use crate::common::tun::{Cable, tun};

const PROBE: &str = env!("CARGO_BIN_EXE_probe");
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The command that starts an agent on B.
fn agent(lab: &Topology, words: &str) -> String {
    let b = lab.netns(LabHost::B).as_fd().as_raw_fd();
    format!("nsenter --net=/proc/{}/fd/{b} {PROBE} agent {words}", std::process::id())
}

fn run(lab: &Topology, agent: &str, words: &str) -> Output {
    let mut command = lab.netns(LabHost::A).command(PROBE);
    command.arg("diagnose").args(words.split_whitespace()).args(["--peer", agent]).stdin(Stdio::null());
    command.env_remove("LANG").env_remove("LC_ALL").output().expect("probe starts")
}

/// Exit status and document of `probe diagnose B WORDS`.
fn diagnose(lab: &Topology, family: Family, words: &str) -> (Option<i32>, Value) {
    let words = format!("{} -c 5 -i 0.005 -W 3 --format json {words}", address(LabHost::B, family));
    let output = run(lab, &agent(lab, ""), &words);
    let text = String::from_utf8_lossy(&output.stdout);
    let json = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), json)
}

/// What B's hops are in a document, with how many packets they saw.
fn far_hops(json: &Value, leg: &str) -> Vec<(String, Option<u64>)> {
    let hops = json["hops"].as_array().expect("an array").iter();
    hops.filter(|hop| hop["host"] == "peer" && hop["leg"] == leg)
        .map(|hop| (hop["hop"].as_str().expect("a name").to_owned(), hop["packets"].as_u64()))
        .collect()
}

fn named(hops: &[(&str, u64)]) -> Vec<(String, Option<u64>)> {
    hops.iter().map(|(name, packets)| ((*name).to_owned(), Some(*packets))).collect()
}

#[test]
fn where_the_far_kernel_ignores_echo_the_others_deliver_and_its_hops_are_not_on_the_way() {
    let Some(lab) = lab("where_the_far_kernel_ignores_echo_the_others_deliver_and_its_hops_are_not_on_the_way") else {
        return;
    };
    sh(&lab, LabHost::B, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1 net.ipv6.icmp.echo_ignore_all=1");
    for family in FAMILIES {
        let (code, json) = diagnose(&lab, family, "");
        assert_eq!((code, &json["stops"][0]["layer"]), (Some(1), &"icmp".into()), "{json}");

        let (code, json) = diagnose(&lab, family, "--responder xdp");
        assert_eq!((code, &json["verdict"]["outcome"]), (Some(0), &"delivered".into()), "{json}");
        assert_eq!((&json["answered"], &json["responder"]), (&5.into(), &"xdp".into()), "{json}");
        assert_eq!(far_hops(&json, "request"), named(&[("netif_in", 5), ("xdp_in", 5)]), "{json}");
        assert_eq!(far_hops(&json, "reply"), [], "{json}");
        assert!(json["verdict"]["sentence"].as_str().is_some_and(|text| text.contains("XDP at the NIC")), "{json}");

        let (code, json) = diagnose(&lab, family, "--responder agent");
        assert_eq!((code, &json["verdict"]["outcome"]), (Some(0), &"delivered".into()), "{json}");
        assert_eq!((&json["answered"], &json["responder"]), (&5.into(), &"agent".into()), "{json}");
        assert_eq!(far_hops(&json, "request"), named(&[("netif_in", 5), ("xdp_in", 5)]), "{json}");
        assert_eq!(far_hops(&json, "reply")[0], ("nf_output_first".to_owned(), Some(5)), "{json}");
        assert_eq!(json["stops"], Value::Array(Vec::new()), "{json}");
    }
}

#[test]
fn a_far_firewall_is_told_from_the_way_there() {
    let Some(lab) = lab("a_far_firewall_is_told_from_the_way_there") else { return };
    let drop = |hook: &str| {
        let table = format!("add table inet t; add chain inet t c {{ type filter hook {hook} priority 0; }}");
        sh(&lab, LabHost::B, &format!("nft '{table}; add rule inet t c meta l4proto {{ icmp, ipv6-icmp }} drop'"));
    };
    drop("input");
    // Neighbour discovery is ICMPv6 as well, so what B knows of its neighbours must not have to be asked for.
    for family in [Family::V4] {
        let (code, json) = diagnose(&lab, family, "");
        assert_eq!((code, &json["stops"][0]["layer"]), (Some(1), &"netfilter".into()), "{json}");
        for responder in ["xdp", "agent"] {
            let (code, json) = diagnose(&lab, family, &format!("--responder {responder}"));
            assert_eq!((code, &json["answered"]), (Some(0), &5.into()), "{responder}: {json}");
        }
    }
    sh(&lab, LabHost::B, "nft delete table inet t");
    drop("output");
    let (code, json) = diagnose(&lab, Family::V4, "--responder agent");
    let stop = &json["stops"][0];
    assert_eq!((code, &stop["host"], &stop["leg"]), (Some(1), &"peer".into(), &"reply".into()), "{json}");
    assert_eq!((&stop["layer"], &stop["cause"]["netfilter"]["hook"]), (&"netfilter".into(), &"output".into()));
    assert_eq!(diagnose(&lab, Family::V4, "--responder xdp").0, Some(0));
}

#[test]
fn a_reply_that_the_network_drops_is_the_networks_whoever_answers() {
    let Some(lab) = lab("a_reply_that_the_network_drops_is_the_networks_whoever_answers") else { return };
    sh(&lab, LabHost::Fw, "nft 'add table inet t; add chain inet t c { type filter hook forward priority 10; }'");
    sh(&lab, LabHost::Fw, "nft 'add rule inet t c icmp type echo-reply drop'");
    for responder in ["kernel", "agent", "xdp"] {
        let (code, json) = diagnose(&lab, Family::V4, &format!("--own-namespace --responder {responder}"));
        let stop = &json["stops"][0];
        assert_eq!((code, &stop["host"], &stop["leg"]), (Some(1), &"network".into(), &"reply".into()), "{json}");
    }
}

#[test]
fn an_agent_without_a_route_back_says_so() {
    let Some(lab) = lab("an_agent_without_a_route_back_says_so") else { return };
    sh(&lab, LabHost::B, "ip route del default");
    // The way back is what names the interface; so it is named.
    let words = format!("{} -c 3 -i 0.005 --format json --responder agent", address(LabHost::B, Family::V4));
    let output = run(&lab, &agent(&lab, "-I eth0"), &words);
    let json: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let stop = &json["stops"][0];
    assert_eq!((&stop["host"], &stop["layer"]), (&"peer".into(), &"route".into()), "{json}");
    assert_eq!(stop["cause"]["reason"], "ENETUNREACH", "{json}");
}

#[test]
fn where_xdp_is_taken_only_the_xdp_responder_is_refused_and_the_agents_takes_requests_at_tc() {
    let Some(lab) = lab("where_xdp_is_taken_only_the_xdp_responder_is_refused_and_the_agents_takes_requests_at_tc")
    else {
        return;
    };
    let holder = lab.netns(LabHost::B).run(|| {
        use probe_user::ebpf::bpf_sys::{ProgramType, XdpMode, always, link_xdp, load_program};
        let ifindex = nix::net::if_::if_nametoindex("eth0").expect("it is there");
        let pass = load_program(ProgramType::Xdp, "other_pass", &always(2)).expect("root may");
        link_xdp(&pass, ifindex, XdpMode::Generic).expect("nobody is there")
    });
    let _holder = holder.expect("inside");
    let b = address(LabHost::B, Family::V4);
    let output = run(&lab, &agent(&lab, ""), &format!("{b} -c 3 --responder xdp"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let why = "requests cannot be answered at the NIC (eth0): another XDP program is on eth0";
    assert!(stderr.contains(why) && stderr.contains("'other_pass'"), "{stderr}");
    assert!(stderr.contains("--responder agent") && stderr.lines().count() == 1, "{stderr}");

    let (code, json) = diagnose(&lab, Family::V4, "--responder agent");
    assert_eq!((code, &json["answered"]), (Some(0), &5.into()), "{json}");
    assert_eq!(far_hops(&json, "request").last(), Some(&("tc_in".to_owned(), Some(5))), "{json}");
}

#[test]
fn a_device_without_a_link_header_answers_too() {
    let Some(lab) = lab("a_device_without_a_link_header_answers_too") else { return };
    let end = |host: LabHost, own: &str| {
        let file = tun(lab.netns(host), "tun9").expect("a tun interface: CONFIG_TUN is on everywhere");
        // Without IPv6 it has nothing to say of its own before the other end is there to hear it.
        sh(&lab, host, "sysctl -qw net.ipv6.conf.tun9.disable_ipv6=1");
        sh(&lab, host, &format!("ip addr add {own}/30 dev tun9 && ip link set tun9 up"));
        file
    };
    let (a, b) = (end(LabHost::A, "10.99.0.1"), end(LabHost::B, "10.99.0.2"));
    let _cable = Cable::between(&a, &b);
    sh(&lab, LabHost::B, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1");
    for responder in ["agent", "xdp"] {
        let words = format!("10.99.0.2 -c 3 -i 0.005 -W 5 --format json --responder {responder}");
        let output = run(&lab, &agent(&lab, ""), &words);
        let json: Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert_eq!(json["sides"]["peer"]["interface"], "tun9", "{json}");
        assert_eq!((output.status.code(), &json["answered"]), (Some(0), &3.into()), "{responder}: {json}");
    }
}

#[test]
fn a_healthy_run_with_two_ends_says_nothing_on_stderr() {
    let Some(lab) = lab("a_healthy_run_with_two_ends_says_nothing_on_stderr") else { return };
    let b = address(LabHost::B, Family::V4);
    for words in ["", " --responder xdp", " --responder agent"] {
        let output = run(&lab, &agent(&lab, ""), &format!("{b} -c 3 -i 0.005 -W 5{words}"));
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{stdout}");
        eprintln!("{stdout}");
    }
}

#[test]
fn what_cannot_be_asked_of_a_responder_is_one_sentence() {
    let Some(lab) = lab("what_cannot_be_asked_of_a_responder_is_one_sentence") else { return };
    let b = address(LabHost::B, Family::V4);
    let says = |agent: &str, words: &str, says: &str| {
        let output = run(&lab, agent, &format!("{b} {words}"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    };
    let agent = |words| agent(&lab, words);
    says(&agent(""), "-s 2000 --responder xdp", "probes of 2000 bytes leave in fragments");
    says(&agent(""), "-s 2000 --responder agent", "-s 1472 or less");
    says(&agent(""), "--reply-only --responder xdp", "cannot be used with");
    says(&agent("--xdp off"), "--responder xdp", "--xdp off asks for it");
    says(&agent("--xdp native"), "--responder xdp", "native XDP on a veth may drop its replies silently");
}
