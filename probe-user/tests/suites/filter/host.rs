//! Host B as the tests of filters see it: what reaches its kernel, what is attached, what is pinned.

use std::{fs, path::Path};

use probe_ebpf::{Echo, Family};
use probe_user::{lab::Netns, traffic::Frame};
use serde_json::Value;

use crate::common::{
    net::{A4, A6, B4, B6, Pair, Wire, message, programs, sh},
    run::{Ran, probe},
};

/// Where filters are pinned.
pub(crate) const HOME: &str = "/sys/fs/bpf/probe";

/// Echo packets of both IP versions that have reached the kernel of `netns`.
pub(crate) fn arrived(netns: &Netns) -> u64 {
    let text = sh(netns, "cat /proc/thread-self/net/snmp /proc/thread-self/net/snmp6");
    let mut v4 = text.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let names = v4.next().expect("names").split_whitespace();
    let v4 = names.zip(v4.next().expect("values").split_whitespace());
    let v6 = text.lines().filter_map(|line| line.strip_prefix("Icmp6")?.split_once(char::is_whitespace));
    let wanted = ["InEchos", "InEchoReps", "InEchoReplies"];
    let counts = v4.chain(v6).filter(|(name, _)| wanted.contains(name));
    counts.map(|(_, count)| count.trim().parse::<u64>().expect("a number")).sum()
}

/// A packet that B is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) family: Family,
    pub(crate) echo: Echo,
    pub(crate) id: u16,
}

impl Packet {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let message = message(self.family, self.echo, self.id, 1);
        match self.family {
            Family::V4 => Frame::v4(A4, B4, &message).bytes(),
            Family::V6 => Frame::v6(A6, B6, &message).bytes(),
        }
    }
}

/// Sends each of `packets`, and waits until B has dropped as many as it must and the others have arrived.
pub(crate) fn send(pair: &Pair, packets: &[Packet], dropped: u64) {
    let (arrived_before, dropped_before) = (arrived(&pair.b), hits(&pair.b));
    let wire = Wire::of(&pair.a, "va");
    for packet in packets {
        wire.put(&packet.bytes());
    }
    let wanted = (arrived_before + packets.len() as u64 - dropped, dropped_before + dropped);
    let mut now = (0, 0);
    let end = std::time::Instant::now() + crate::common::net::PATIENCE;
    while now != wanted && std::time::Instant::now() < end {
        now = (arrived(&pair.b), hits(&pair.b));
    }
    assert_eq!(now, wanted, "arrived and dropped");
}

/// Replies of IPv4 with this id.
pub(crate) fn replies(id: u16, count: usize) -> Vec<Packet> {
    vec![Packet { family: Family::V4, echo: Echo::Reply, id }; count]
}

/// The rules that `probe filter list` shows.
pub(crate) fn list(netns: &Netns) -> Vec<Value> {
    rules(&probe(netns, "filter list --format json").done())
}

/// The rules in a document.
pub(crate) fn rules(ran: &Ran) -> Vec<Value> {
    let document = ran.json();
    assert_eq!(document["schema"], "probe.filters/1");
    document["filters"].as_array().expect("an array").clone()
}

/// What all rules together dropped.
pub(crate) fn hits(netns: &Netns) -> u64 {
    list(netns).iter().filter_map(|rule| rule["dropped"].as_u64()).sum()
}

pub(crate) fn numbers(rules: &[Value]) -> Vec<u64> {
    rules.iter().filter_map(|rule| rule["number"].as_u64()).collect()
}

/// The folders of pins, of whatever interface.
pub(crate) fn folders() -> Vec<String> {
    let files = fs::read_dir(HOME).into_iter().flatten().filter_map(Result::ok);
    files.filter_map(|file| file.file_name().into_string().ok()).collect()
}

/// Asserts that nothing is left of any filter on an interface.
pub(crate) fn expect_bare(netns: &Netns, interface: &str) {
    assert!(programs(netns, interface).is_empty(), "{interface}: {:?}", programs(netns, interface));
    assert!(!Path::new(HOME).exists(), "{:?}", folders());
}
