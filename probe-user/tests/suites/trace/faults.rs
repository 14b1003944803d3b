//! One fault at a time: the drop event names host, leg, reason, function, and for netfilter the frame that tells the
//! hook; and where the kernel drops in silence, the journeys show the last hop.

use std::{collections::BTreeSet, os::fd::OwnedFd};

use probe_ebpf::{Direction, Echo, Family, Hop};
use probe_user::{
    ebpf::bpf_sys::{self, Instruction, ProgramType},
    lab::{LabHost, Nic, Topology, attach_tc_program},
    model::trace::Drop,
    traffic::{Fragmentation, Settings},
};

use super::{
    ping::{payload, request, send, settle, wait},
    watched::{Watched, Wish},
};
use crate::common;

const NONCE: u64 = 0xfau64 << 56 | 0x0017;
const PROBES: u16 = 3;

/// What breaks, and what must be reported of it.
struct Fault {
    /// Where.
    nic: Nic,
    /// How: lines for a shell, in which `$A`, `$B` are the ends' addresses, `$FW` is the router's next to A, `$V` is `-4`
    /// or `-6`, `$IP` is `ip` or `ip6`, `$ICMP` the protocol and `$ONE` the length of a host route.
    how: &'static str,
    leg: Echo,
    reason: &'static str,
    /// The function; any of these.
    functions: &'static [&'static str],
    /// A function of the stack, for IPv4 and for IPv6; empty: no stack is asked for.
    frames: [&'static str; 2],
    /// The side of the interface at which a tc program drops everything.
    dropper: Option<Direction>,
}

const NFT: &[&str] = &["nft_do_chain"];

const fn chain(nic: Nic, how: &'static str, leg: Echo, frames: [&'static str; 2]) -> Fault {
    Fault { nic, how, leg, reason: "NETFILTER_DROP", functions: NFT, frames, dropper: None }
}

const fn plain(nic: Nic, how: &'static str, reason: &'static str, functions: &'static [&'static str]) -> Fault {
    Fault { nic, how, leg: Echo::Request, reason, functions, frames: ["", ""], dropper: None }
}

fn shell(lab: &Topology, host: LabHost, family: Family, how: &str) {
    let (v, ip, icmp, one) = match family {
        Family::V4 => ("-4", "ip", "icmp", "32"),
        Family::V6 => ("-6", "ip6", "icmpv6", "128"),
    };
    let mut command = lab.netns(host).command("sh");
    command.args(["-ec", how]).env("V", v).env("IP", ip).env("ICMP", icmp).env("ONE", one);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("A", LabHost::A.address(family).to_string()).env("B", LabHost::B.address(family).to_string());
    command.env("FW", Nic::FwA.address(family).to_string());
    let output = command.output().expect("sh");
    assert!(output.status.success(), "{how}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Attaches a program that drops everything (`TC_ACT_SHOT`).
fn dropper(lab: &Topology, nic: Nic, direction: Direction) -> Option<OwnedFd> {
    let program = [Instruction::set(0, 2), Instruction::exit()];
    let program = bpf_sys::load_program(ProgramType::Tc, "test_drop", &program).expect("loads");
    let link = || attach_tc_program(&program, lab.ifindex(nic), direction).expect("attached");
    lab.netns(nic.host()).run(link).expect("inside")
}

fn found(fault: &Fault, family: Family, drop: &Drop) -> bool {
    let frame = match family {
        Family::V4 => fault.frames[0],
        Family::V6 => fault.frames[1],
    };
    let named = |name: &str, wanted: &str| name.split('.').next() == Some(wanted);
    drop.probe.is_some()
        && drop.leg == fault.leg
        && drop.reason == fault.reason
        && fault.functions.iter().any(|function| named(&drop.function, function))
        && (frame.is_empty() || drop.stack.iter().any(|name| named(name, frame)))
}

/// Breaks, pings, and asserts that every probe's end is reported, and nothing else.
fn try_with(fault: &Fault, family: Family, settings: &Settings, length: usize) {
    let lab = Topology::build().expect("a lab");
    shell(&lab, fault.nic.host(), family, fault.how);
    if fault.dropper.is_some() {
        // It drops what neighbours ask each other, too: they must have met before.
        send(&lab, LabHost::A, settings, 1, &[vec![0; 8]])[0].expect("sent");
        settle();
    }
    let _dropper = fault.dropper.map(|direction| dropper(&lab, fault.nic, direction));
    let mut watched = Watched::new(&lab, fault.nic, Wish::new(NONCE));
    let payloads: Vec<_> = (0..PROBES).map(|probe| payload(NONCE, probe, length)).collect();
    let _errors = send(&lab, LabHost::A, settings, 0x0bad, &payloads);
    let host = fault.nic.host();
    let told = wait(|| {
        let drops = watched.drops(&lab, host);
        let probes: BTreeSet<_> =
            drops.iter().filter(|drop| found(fault, family, drop)).map(|drop| drop.probe).collect();
        probes.len() == usize::from(PROBES)
    });
    let drops = watched.drops(&lab, host).to_vec();
    assert!(told, "{family:?} {}: {drops:#?} {:?}", fault.how, watched.times(Echo::Request, 0));
    assert!(drops.iter().all(|drop| found(fault, family, drop)), "{family:?} {}: {drops:#?}", fault.how);
    assert!(drops.iter().all(|drop| drop.id == 0x0bad && [drop.source, drop.destination].contains(&lab_end(family))));
}

fn lab_end(family: Family) -> std::net::IpAddr {
    LabHost::A.address(family)
}

fn try_all(families: &[Family], faults: &[Fault]) {
    for family in families {
        for fault in faults {
            try_with(fault, *family, &request(LabHost::B.address(*family)), 56);
        }
    }
}

const BOTH: [Family; 2] = [Family::V4, Family::V6];

#[test]
fn netfilters_drops_are_told_with_the_frame_that_tells_the_hook() {
    if !common::is_root("netfilters_drops_are_told_with_the_frame_that_tells_the_hook") {
        return;
    }
    let at = |hook: &str| -> &'static str {
        let rules = format!(
            "nft add table inet t; nft add chain inet t c '{{ type filter hook {hook} priority 0; }}'; \
             nft add rule inet t c meta l4proto $ICMP $ICMP type echo-request drop"
        );
        rules.leak()
    };
    let reply = "nft add table inet t; nft add chain inet t c '{ type filter hook output priority 0; }'; \
                 nft add rule inet t c $ICMP type echo-reply drop";
    let ingress = "nft add table netdev t; \
                   nft add chain netdev t c '{ type filter hook ingress device eth0 priority 0; }'; \
                   nft add rule netdev t c $ICMP type echo-request drop";
    try_all(
        &BOTH,
        &[
            chain(Nic::A, at("output"), Echo::Request, ["__ip_local_out", "rawv6_sendmsg"]),
            chain(Nic::A, at("postrouting"), Echo::Request, ["ip_output", "ip6_output"]),
            chain(Nic::FwA, at("forward"), Echo::Request, ["ip_forward", "ip6_forward"]),
            chain(Nic::B, at("prerouting"), Echo::Request, ["ip_sublist_rcv", "ip6_sublist_rcv"]),
            chain(Nic::B, at("input"), Echo::Request, ["ip_local_deliver", "ip6_input"]),
            chain(Nic::B, ingress, Echo::Request, ["nft_do_chain_netdev"; 2]),
            chain(Nic::B, reply, Echo::Reply, ["__ip_local_out", "icmpv6_echo_reply"]),
        ],
    );
}

#[test]
fn routings_drops_are_told() {
    if !common::is_root("routings_drops_are_told") {
        return;
    }
    let astray = "ip link add d0 type veth peer d1; ip link set d0 up; ip link set d1 up; ip route add $A/$ONE dev d0; \
                  echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter";
    try_all(
        &[Family::V4],
        &[
            plain(Nic::B, astray, "IP_RPFILTER", &["ip_rcv_finish_core"]),
            plain(Nic::FwA, "echo 0 >/proc/sys/net/ipv4/ip_forward", "IP_INADDRERRORS", &["ip_error"]),
            plain(Nic::FwA, "ip addr flush dev b", "IP_INNOROUTES", &["ip_error"]),
        ],
    );
    try_all(
        &BOTH,
        &[plain(
            Nic::FwA,
            "ip $V route add blackhole $B/$ONE",
            "NOT_SPECIFIED",
            &["ip_error", "dst_discard", "dst_discard_out"],
        )],
    );
}

#[test]
fn the_devices_drops_are_told() {
    if !common::is_root("the_devices_drops_are_told") {
        return;
    }
    let tc =
        |nic, direction, reason, functions| Fault { dropper: Some(direction), ..plain(nic, "true", reason, functions) };
    try_all(
        &[Family::V4],
        &[
            tc(Nic::A, Direction::Out, "TC_EGRESS", &["__dev_queue_xmit", "sch_handle_egress"]),
            tc(Nic::B, Direction::In, "TC_INGRESS", &["__netif_receive_skb_core", "sch_handle_ingress"]),
            plain(
                Nic::A,
                "tc qdisc add dev eth0 root tbf rate 8kbit burst 90 limit 90",
                "QDISC_DROP",
                &["__dev_queue_xmit", "kfree_skb_list_reason", "qdisc_drop_reason"],
            ),
        ],
    );
}

#[test]
fn hop_limit_mtu_and_neighbour_are_told() {
    if !common::is_root("hop_limit_mtu_and_neighbour_are_told") {
        return;
    }
    for family in BOTH {
        let to = LabHost::B.address(family);
        let expired = plain(Nic::FwA, "true", "IP_INHDR", &["ip_forward", "ip6_forward"]);
        try_with(&expired, family, &Settings { ttl: Some(1), ..request(to) }, 56);
        let narrow = plain(Nic::FwA, "ip link set dev b mtu 1300", "PKT_TOO_BIG", &["ip_forward", "ip6_forward"]);
        let whole = Settings { fragmentation: Fragmentation::Forbidden, ..request(to) };
        try_with(&narrow, family, &whole, 1400);
    }
    let nobody = plain(
        Nic::A,
        "echo 1 >/proc/sys/net/ipv4/neigh/eth0/mcast_solicit; echo 50 >/proc/sys/net/ipv4/neigh/eth0/retrans_time_ms",
        "NEIGH_FAILED",
        &["neigh_invalidate", "neigh_event_send"],
    );
    let there = std::net::Ipv4Addr::from(Nic::A.v4().to_bits() ^ 0x40);
    try_with(&nobody, Family::V4, &request(there.into()), 56);
}

/// The kernel's ICMP had the request, and made no reply: for IPv4 in silence, for IPv6 with a drop that tells no reason.
/// Before Linux 6.3 that drop comes with an answer too, and so is none.
fn ends_in_silence(family: Family, how: &str) {
    let lab = Topology::build().expect("a lab");
    shell(&lab, LabHost::B, family, how);
    let mut b = Watched::new(&lab, Nic::B, Wish::new(NONCE));
    let payloads = [payload(NONCE, 0, 56)];
    send(&lab, LabHost::A, &request(LabHost::B.address(family)), 0x0bad, &payloads)[0].expect("sent");
    assert!(wait(|| b.times(Echo::Request, 0).contains_key(&Hop::IcmpIn)), "{how}: {:?}", b.times(Echo::Request, 0));
    settle();
    assert_eq!(b.times(Echo::Reply, 0).len(), 0, "{how}");
    let drops = b.drops(&lab, LabHost::B);
    let told: Vec<_> = drops.iter().map(|drop| (drop.reason.as_str(), drop.function.as_str())).collect();
    match family {
        Family::V6 if common::is_linux((6, 3)) => assert_eq!(told, [("NOT_SPECIFIED", "icmpv6_rcv")], "{how}"),
        Family::V4 | Family::V6 => assert_eq!(told, [], "{how}"),
    }
}

#[test]
fn an_ignored_echo_and_a_missing_way_back_end_in_silence_after_icmp() {
    if !common::is_root("an_ignored_echo_and_a_missing_way_back_end_in_silence_after_icmp") {
        return;
    }
    ends_in_silence(Family::V4, "echo 1 >/proc/sys/net/ipv4/icmp_echo_ignore_all");
    ends_in_silence(Family::V6, "echo 1 >/proc/sys/net/ipv6/icmp/echo_ignore_all");
    for family in BOTH {
        ends_in_silence(family, "ip $V route del default");
    }
}
