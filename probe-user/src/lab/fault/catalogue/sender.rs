//! Faults of the host that sends on a leg: a of requests, b of replies.

use super::{ROW, chain, device_chain};
use crate::lab::fault::{
    EACH, ExpectedDiagnosis, Fault, FaultLocation,
    Layer::{Driver, Ip as IpLayer, Neighbour, Qdisc, Route, Socket},
    Probe, REPLY, V6,
    action::FaultAction::{Ip, Iptables, Nft, Setting},
    site::On::{Router, Sender},
};

const AT: Fault = Fault { place: FaultLocation::Sender, ..ROW };

/// Packets that an nftables chain drops.
const NF: (&str, &str) = ("NETFILTER_DROP", "nft_do_chain");

const fn in_chain(hook: &'static str, chain: &'static str) -> ExpectedDiagnosis {
    ExpectedDiagnosis::in_chain(hook, chain).reason(&["NETFILTER_DROP"]).events(NF, NF)
}

/// The kernel's own error says it all: no packet was made.
const NO_ROUTE: ExpectedDiagnosis = ExpectedDiagnosis::stopped(&[Route]);

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
        name: "unreachable-rule",
        title: "a policy rule that calls the other end unreachable",
        legs: EACH,
        actions: &[Ip(Sender, "{-4} rule add to {receiver}/{32} unreachable")],
        expected: NO_ROUTE,
        ..AT
    },
    Fault {
        name: "blackhole-rule",
        title: "a policy rule that is a black hole for the other end",
        legs: EACH,
        actions: &[Ip(Sender, "{-4} rule add to {receiver}/{32} blackhole")],
        expected: NO_ROUTE,
        ..AT
    },
    Fault {
        name: "other-route",
        title: "a route to the other end by another interface, where it is not",
        legs: EACH,
        actions: &[
            Ip(Sender, "link add d0 type veth peer name d1"),
            Ip(Sender, "link set dev d0 up"),
            Ip(Sender, "link set dev d1 up"),
            Ip(Sender, "{-4} route add {receiver}/{32} dev d0"),
        ],
        expected: ExpectedDiagnosis::stopped(&[Neighbour, Route]),
        ..AT
    },
    Fault {
        name: "xfrm-out",
        title: "an IPsec policy forbids to send to the other end",
        legs: EACH,
        actions: &[Ip(Sender, "xfrm policy add dst {receiver}/{32} dir out action block")],
        expected: ExpectedDiagnosis::stopped(&[Route, IpLayer]),
        ..AT
    },
    Fault {
        name: "source-not-owned",
        title: "a source address that is not this host's",
        probe: Probe { source: Some(("192.0.2.1", "2001:db8::1")), ..Probe::PLAIN },
        expected: ExpectedDiagnosis::stopped(&[Socket, Route]),
        ..AT
    },
    Fault {
        name: "interface-down",
        title: "the interface is switched off",
        actions: &[Ip(Sender, "link set dev eth0 down")],
        expected: ExpectedDiagnosis::stopped(&[Route, Driver]),
        ..AT
    },
    Fault {
        name: "no-carrier",
        title: "the cable's other end is switched off",
        actions: &[Ip(Router, "link set dev {in} down")],
        expected: ExpectedDiagnosis::stopped(&[Driver, Qdisc, Neighbour, Route]),
        ..AT
    },
    Fault {
        name: "ipv6-disabled",
        title: "IPv6 is switched off on the interface",
        families: V6,
        actions: &[Setting(Sender, "net/ipv6/conf/eth0/disable_ipv6", "1")],
        expected: ExpectedDiagnosis::stopped(&[Route, Socket]),
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
        expected: ExpectedDiagnosis { chain: None, ..in_chain("output", "") }.event("NETFILTER_DROP", "nf_hook_slow"),
        needs: Some(("iptables-legacy", "ip6tables-legacy")),
        ..AT
    },
];
