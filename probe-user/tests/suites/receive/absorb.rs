//! What is absorbed the kernel neither answers nor hands to a socket; what is not, it does, and all of it again after.

use nix::sys::signal::Signal;
use probe_ebpf::Echo;
use probe_user::{
    ebpf::bpf_sys::{ProgramType, XdpMode, always, link_xdp, load_program},
    host::device::Device,
};

use crate::common::{
    is_root,
    net::{Pair, Wire, from_a, sh},
    run::{Running, probe},
};

/// Echo replies and requests that B's kernel has sent and received.
fn echoes(pair: &Pair) -> [u64; 3] {
    let text = sh(&pair.b, "cat /proc/thread-self/net/snmp");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let names = lines.next().expect("names").split_whitespace();
    let values: Vec<_> = names.zip(lines.next().expect("values").split_whitespace()).collect();
    ["InEchos", "OutEchoReps", "InEchoReps"].map(|wanted| {
        let value = values.iter().find(|(name, _)| *name == wanted).expect("a counter").1;
        value.parse().expect("a number")
    })
}

fn absorbs(pair: &Pair, flags: &str) {
    let wire = Wire::of(&pair.a, "va");
    let [requests, replies, got] = echoes(pair);
    let mut receiver = Running::start(&pair.b, &format!("receive -I vb -e 7-9 --absorb --format json {flags}"));
    for seq in 0..20 {
        wire.put(&from_a(Echo::Request, 8, seq));
        wire.put(&from_a(Echo::Reply, 9, seq));
    }
    for id in [6, 10] {
        wire.put(&from_a(Echo::Request, id, 1));
        wire.put(&from_a(Echo::Reply, id, 1));
    }
    receiver.until("all of them", |stdout, _| stdout.lines().count() == 40);
    let ran = receiver.end_with(Signal::SIGTERM);
    assert!(ran.documents().iter().all(|document| document["absorbed"] == true), "{ran:?}");
    assert_eq!(echoes(pair), [requests + 2, replies + 2, got + 2], "{flags}: only 6 and 10 reach the kernel");
    wire.put(&from_a(Echo::Request, 8, 99));
    crate::common::net::eventually("the kernel answers again", || echoes(pair)[1] == replies + 3);
}

#[test]
fn what_is_absorbed_does_not_reach_the_kernel() {
    if !is_root("what_is_absorbed_does_not_reach_the_kernel") {
        return;
    }
    let pair = Pair::new();
    for flags in ["", "--xdp generic", "--xdp off", "--xdp off --tc clsact"] {
        absorbs(&pair, flags);
    }
}

#[test]
fn where_xdp_is_taken_it_absorbs_at_tc() {
    if !is_root("where_xdp_is_taken_it_absorbs_at_tc") {
        return;
    }
    let pair = Pair::new();
    let foreign = pair.b.run(|| {
        let program = load_program(ProgramType::Xdp, "somebody", &always(2)).expect("a program");
        link_xdp(program, Device::find("vb").expect("vb").ifindex, XdpMode::Native).expect("the place is free")
    });
    absorbs(&pair, "");
    let refused = probe(&pair.b, "receive -I vb -e 7 --absorb --xdp native");
    assert_eq!((refused.code, refused.stderr.lines().count()), (2, 1), "{refused:?}");
    assert!(refused.stderr.contains("'somebody', native)"), "{refused:?}");
    drop(foreign);
}

#[test]
fn only_the_chosen_ip_version_is_absorbed() {
    if !is_root("only_the_chosen_ip_version_is_absorbed") {
        return;
    }
    let pair = Pair::new();
    let mut receiver = Running::start(&pair.b, "receive -I vb -e 7 -6 --absorb --format json");
    let answered = |target: &str| {
        let sent = probe(&pair.a, &format!("send request {target} -e 7"));
        assert_eq!(sent.code, 0, "{sent:?}");
    };
    let [_, before, _] = echoes(&pair);
    answered("10.9.0.2");
    crate::common::net::eventually("IPv4 is answered", || echoes(&pair)[1] == before + 1);
    answered("fd09::2");
    receiver.until("IPv6 is absorbed", |stdout, _| stdout.contains("\"absorbed\":true"));
    let ran = receiver.end_with(Signal::SIGINT);
    assert_eq!((ran.documents().len(), &ran.last()["source"]), (1, &"fd09::1".into()), "{ran:?}");
}

#[test]
fn kill_9_gives_the_kernel_its_packets_back() {
    if !is_root("kill_9_gives_the_kernel_its_packets_back") {
        return;
    }
    let pair = Pair::new();
    for flags in ["", "--xdp off"] {
        let receiver = Running::start(&pair.b, &format!("receive -I vb -e 0-65535 --absorb {flags}"));
        assert!(!crate::common::net::answers(&pair.a, "10.9.0.2"), "{flags}");
        receiver.end_with(Signal::SIGKILL);
        crate::common::net::eventually("an answer", || crate::common::net::answers(&pair.a, "10.9.0.2"));
    }
}
