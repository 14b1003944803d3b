//! Faults of the host that sends on a leg: a of requests, b of replies.

use probe_ebpf::Direction;

use super::{ROW, chain, device_chain};
use crate::lab::fault::{
    EACH, Expected, Fault,
    Layer::{Cgroup as CgroupLayer, Driver, Icmp, Ip as IpLayer, Neighbour, Qdisc, Route, Socket, Tc as TcLayer},
    Place, Probe, REPLY, V4, V6,
    action::{
        Action::{Cgroup, Ip, Iptables, Nft, Setting, Spend, Tc, Tcx},
        Answer::Drop,
    },
    site::On::{Router, Sender},
};

const AT: Fault = Fault { place: Place::Sender, ..ROW };

/// Packets that an nftables chain drops.
const NF: (&str, &str) = ("NETFILTER_DROP", "nft_do_chain");

const fn in_chain(hook: &'static str, chain: &'static str) -> Expected {
    Expected::in_chain(hook, chain).reason(&["NETFILTER_DROP"]).events(NF, NF)
}

/// The kernel's own error says it all: no packet was made.
const NO_ROUTE: Expected = Expected::stopped(&[Route]);

pub(super) const ROWS: &[Fault] = &[
    Fault {
        name: "no-route",
        title: "no route to the other end",
        legs: EACH,
        actions: &[Ip(Sender, "{-4} route del default")],
        expected: NO_ROUTE,
        ..AT
    },
    Fault {
        name: "unreachable-route",
        title: "an unreachable route to the other end",
        legs: EACH,
        actions: &[Ip(Sender, "{-4} route add unreachable {receiver}/{32}")],
        expected: NO_ROUTE,
        ..AT
    },
    Fault {
        name: "blackhole-route",
        title: "a blackhole route to the other end",
        legs: EACH,
        actions: &[Ip(Sender, "{-4} route add blackhole {receiver}/{32}")],
        expected: NO_ROUTE,
        ..AT
    },
    Fault {
        name: "prohibit-route",
        title: "a prohibit route to the other end",
        legs: EACH,
        actions: &[Ip(Sender, "{-4} route add prohibit {receiver}/{32}")],
        expected: NO_ROUTE,
        ..AT
    },
    Fault {
        name: "prohibit-rule",
        title: "a policy rule that prohibits the other end",
        legs: EACH,
        actions: &[Ip(Sender, "{-4} rule add to {receiver}/{32} prohibit")],
        expected: NO_ROUTE,
        ..AT
    },
    Fault {
        name: "source-not-owned",
        title: "a source address that is not this host's",
        probe: Probe { source: Some(("192.0.2.1", "2001:db8::1")), ..Probe::PLAIN },
        expected: Expected::stopped(&[Socket, Route]),
        ..AT
    },
    Fault {
        name: "interface-down",
        title: "the interface is switched off",
        actions: &[Ip(Sender, "link set dev eth0 down")],
        expected: Expected::stopped(&[Route, Driver]),
        ..AT
    },
    Fault {
        name: "no-carrier",
        title: "the cable's other end is switched off",
        actions: &[Ip(Router, "link set dev {in} down")],
        expected: Expected::stopped(&[Driver, Qdisc, Neighbour, Route]),
        ..AT
    },
    Fault {
        name: "ipv6-disabled",
        title: "IPv6 is switched off on the interface",
        families: V6,
        actions: &[Setting(Sender, "net/ipv6/conf/eth0/disable_ipv6", "1")],
        expected: Expected::stopped(&[Route, Socket]),
        ..AT
    },
    Fault {
        name: "nft-output",
        title: "an nftables output chain drops",
        legs: EACH,
        actions: &[Nft(Sender, chain!("output", "filter", "{echo} drop"))],
        expected: in_chain("output", "output"),
        ..AT
    },
    Fault {
        name: "nft-output-reject",
        title: "an nftables output chain rejects",
        legs: EACH,
        actions: &[Nft(Sender, chain!("output", "filter", "{echo} reject with icmpx admin-prohibited"))],
        expected: in_chain("output", "output"),
        ..AT
    },
    Fault {
        name: "nft-postrouting",
        title: "an nftables postrouting chain drops",
        legs: EACH,
        actions: &[Nft(Sender, chain!("postrouting", "filter", "{echo} drop"))],
        expected: in_chain("postrouting", "postrouting"),
        ..AT
    },
    Fault {
        name: "nft-egress",
        title: "an nftables egress chain of the interface drops",
        legs: EACH,
        actions: &[Nft(Sender, device_chain!("egress", "eth0", "{echo} drop"))],
        expected: in_chain("egress", "egress"),
        ..AT
    },
    Fault {
        name: "ct-invalid-output",
        title: "an output chain drops what conntrack calls invalid: the request was not tracked",
        legs: REPLY,
        actions: &[Nft(
            Sender,
            "table inet probe_fault { chain untracked { type filter hook prerouting priority raw; {back} notrack; }\n \
             chain output { type filter hook output priority filter; {echo} ct state invalid drop; }\n}\n",
        )],
        expected: in_chain("output", "output"),
        ..AT
    },
    Fault {
        name: "iptables-output",
        title: "the legacy OUTPUT chain drops",
        legs: EACH,
        actions: &[Iptables(Sender, "-A OUTPUT -p {icmp} --{icmp}-type {type} -j DROP")],
        expected: Expected { chain: None, ..in_chain("output", "") }.event("NETFILTER_DROP", "nf_hook_slow"),
        needs: Some(("iptables-legacy", "ip6tables-legacy")),
        ..AT
    },
    Fault {
        name: "cgroup-egress",
        title: "a cgroup program denies what the process sends",
        actions: &[Cgroup(Direction::Out, Drop)],
        expected: Expected::stopped(&[CgroupLayer])
            .events(("BPF_CGROUP_EGRESS", "ip_finish_output"), ("BPF_CGROUP_EGRESS", "ip6_finish_output")),
        ..AT
    },
    Fault {
        name: "tc-egress",
        title: "somebody else's tc program drops at egress",
        legs: EACH,
        actions: &[Tcx(Sender, Direction::Out, Drop)],
        expected: Expected::stopped(&[TcLayer]).reason(&["TC_EGRESS"]).event("TC_EGRESS", "__dev_queue_xmit"),
        ..AT
    },
    Fault {
        name: "qdisc-full",
        title: "the interface's queue has no room: a token bucket filter",
        legs: EACH,
        // Neighbour discovery is shorter than its bucket, echo packets are longer.
        actions: &[Tc(Sender, "qdisc replace dev eth0 root tbf rate 1mbit burst 90 limit 1000")],
        expected: Expected::stopped(&[Qdisc]).reason(&["QDISC_DROP"]).event("QDISC_DROP", "__dev_queue_xmit"),
        ..AT
    },
    Fault {
        name: "neighbour-unresolved",
        title: "the gateway does not answer ARP or neighbour solicitation",
        legs: EACH,
        actions: &[
            Nft(
                Router,
                device_chain!("ingress", "{in}", "meta protocol arp drop; icmpv6 type nd-neighbor-solicit drop"),
            ),
            Setting(Sender, "net/{ipv}/neigh/eth0/retrans_time_ms", "100"),
            Setting(Sender, "net/{ipv}/neigh/eth0/mcast_solicit", "1"),
            Ip(Sender, "{-4} neigh del {gateway} dev eth0"),
        ],
        expected: Expected::stopped(&[Neighbour])
            .reason(&["NEIGH_FAILED", "NOT_SPECIFIED"])
            .events(("NEIGH_FAILED", "neigh_invalidate"), ("NOT_SPECIFIED", "neigh_invalidate")),
        ..AT
    },
    Fault {
        name: "above-mtu",
        title: "packets above the MTU that must not be fragmented",
        probe: Probe::whole(1600),
        expected: Expected::stopped(&[IpLayer, Socket]),
        ..AT
    },
    Fault {
        name: "icmp-rate-limit",
        title: "the kernel's ICMP rate limit covers echo replies and is used up",
        families: V4,
        legs: REPLY,
        actions: &[
            Setting(Sender, "net/ipv4/icmp_ratemask", "6169"),
            Setting(Sender, "net/ipv4/icmp_ratelimit", "60000"),
            Spend(10),
        ],
        expected: Expected::stopped(&[Icmp]),
        ..AT
    },
    Fault {
        name: "icmp-rate-limit",
        title: "the kernel's ICMPv6 rate limit covers echo replies and is used up",
        families: V6,
        legs: REPLY,
        actions: &[
            Setting(Sender, "net/ipv6/icmp/ratemask", "0-1,3-127,129"),
            Setting(Sender, "net/ipv6/icmp/ratelimit", "60000"),
            Spend(10),
        ],
        // The request has been used up; over IPv4 it is consumed without an event.
        expected: Expected::stopped(&[Icmp]).event("NOT_SPECIFIED", "icmpv6_rcv"),
        ..AT
    },
];
