//! Faults of finding the neighbour: questions and answers that are dropped, hosts that are told not to answer, wrong entries.

use super::{ROW, device_chain};
use crate::lab::fault::{
    EACH, ExpectedDiagnosis, Fault, FaultLocation,
    Layer::{Neighbour, Path},
    V4, V6,
    action::FaultAction::{Ip, Nft, Setting},
    site::On::{Receiver, Router, Sender},
};

/// Packets wait on the host that asks.
const WAITS: Fault = Fault { place: FaultLocation::Sender, legs: EACH, ..ROW };

/// The router asks, and drops what it cannot deliver: that is between the two ends.
const LOST: Fault = Fault { place: FaultLocation::Network, legs: EACH, ..ROW };

const fn waits(finding: &'static str) -> ExpectedDiagnosis {
    ExpectedDiagnosis::stopped(&[Neighbour]).neighbour(finding)
}

const fn lost(finding: &'static str) -> ExpectedDiagnosis {
    ExpectedDiagnosis::stopped(&[Path]).neighbour(finding)
}

/// One chain of ARP, or of IPv6, with one rule.
macro_rules! chain_of {
    ($family:literal, $hook:literal, $rule:literal) => {
        concat!(
            "table ",
            $family,
            " probe_fault { chain ",
            $hook,
            " { type filter hook ",
            $hook,
            " priority 0; ",
            $rule,
            ";\n}\n}\n"
        )
    };
}

/// The asker forgets its gateway.
const FORGET: super::super::FaultAction = Ip(Sender, "{-4} neigh del {gateway} dev eth0");

/// The router forgets who receives.
const ROUTER_FORGETS: super::super::FaultAction = Ip(Router, "{-4} neigh del {receiver} dev {out}");

pub(super) const ROWS: &[Fault] = &[
    Fault {
        name: "arp-question-dropped",
        title: "the host's own ARP requests are dropped by its output chain",
        families: V4,
        actions: &[Nft(Sender, chain_of!("arp", "output", "arp operation request drop")), FORGET],
        expected: waits("question_dropped_here"),
        ..WAITS
    },
    Fault {
        name: "nd-question-dropped",
        title: "the host's own neighbour solicitations are dropped by its output chain",
        families: V6,
        actions: &[Nft(Sender, chain_of!("ip6", "output", "icmpv6 type nd-neighbor-solicit drop")), FORGET],
        expected: waits("question_dropped_here"),
        ..WAITS
    },
    Fault {
        name: "neighbour-question-dropped-late",
        title: "what the host asks its link is dropped at its device's egress",
        actions: &[
            Nft(
                Sender,
                device_chain!("egress", "eth0", "meta protocol arp drop; icmpv6 type nd-neighbor-solicit drop"),
            ),
            FORGET,
        ],
        expected: waits("question_dropped_here"),
        ..WAITS
    },
    Fault {
        name: "arp-answer-dropped",
        title: "the ARP replies of the gateway are dropped by the host's input chain",
        families: V4,
        actions: &[Nft(Sender, chain_of!("arp", "input", "arp operation reply drop")), FORGET],
        expected: waits("answer_dropped_here"),
        ..WAITS
    },
    Fault {
        name: "nd-answer-dropped",
        title: "the gateway's neighbour advertisements are dropped by the host's input chain",
        families: V6,
        actions: &[Nft(Sender, chain_of!("inet", "input", "icmpv6 type nd-neighbor-advert drop")), FORGET],
        expected: waits("answer_dropped_here"),
        ..WAITS
    },
    Fault {
        name: "neighbour-answer-dropped-early",
        title: "what the gateway answers is dropped at the host's device's ingress",
        actions: &[
            Nft(
                Sender,
                device_chain!("ingress", "eth0", "arp operation reply drop; icmpv6 type nd-neighbor-advert drop"),
            ),
            FORGET,
        ],
        expected: waits("answer_dropped_here"),
        ..WAITS
    },
    Fault {
        name: "gateway-wrong",
        title: "the default route leads by a gateway that is not there",
        families: V4,
        actions: &[Ip(Sender, "-4 route replace default via 10.77.0.77 dev eth0 onlink")],
        expected: waits("gateway_gone"),
        ..WAITS
    },
    Fault {
        name: "gateway-wrong",
        title: "the default route leads by a gateway that is not there",
        families: V6,
        actions: &[Ip(Sender, "-6 route replace default via fd77:0:0:a::77 dev eth0 onlink")],
        expected: waits("gateway_gone"),
        ..WAITS
    },
    Fault {
        name: "no-gateway",
        title: "the default route names a device and no gateway",
        actions: &[
            Ip(Sender, "{-4} route flush default"),
            Ip(Sender, "{-4} route add default dev eth0"),
            Ip(Sender, "{-4} neigh flush dev eth0"),
        ],
        expected: waits("no_gateway"),
        ..WAITS
    },
    Fault {
        name: "gateways-entry-wrong",
        title: "the host has an entry for its gateway with nobody's link-layer address",
        families: V4,
        actions: &[Ip(Sender, "neigh replace {gateway} lladdr 02:00:00:00:00:99 dev eth0 nud permanent")],
        expected: lost("wrong_entry"),
        ..LOST
    },
    Fault {
        name: "arp-ignored",
        title: "the host that receives is told to answer no ARP",
        families: V4,
        actions: &[Setting(Receiver, "net/ipv4/conf/eth0/arp_ignore", "8"), ROUTER_FORGETS],
        expected: lost("told_not_to_answer"),
        ..LOST
    },
    Fault {
        name: "arp-input-dropped",
        title: "ARP requests are dropped by the input chain of the host that receives",
        families: V4,
        actions: &[Nft(Receiver, chain_of!("arp", "input", "arp operation request drop")), ROUTER_FORGETS],
        expected: lost("question_dropped_there"),
        ..LOST
    },
    Fault {
        name: "nd-input-dropped",
        title: "neighbour solicitations are dropped by the input chain of the host that receives",
        families: V6,
        actions: &[Nft(Receiver, chain_of!("inet", "input", "icmpv6 type nd-neighbor-solicit drop")), ROUTER_FORGETS],
        expected: lost("question_dropped_there"),
        ..LOST
    },
    Fault {
        name: "arp-output-dropped",
        title: "its own ARP replies are dropped by the host that receives",
        families: V4,
        actions: &[Nft(Receiver, chain_of!("arp", "output", "arp operation reply drop")), ROUTER_FORGETS],
        expected: lost("answer_dropped_there"),
        ..LOST
    },
    Fault {
        name: "nd-output-dropped",
        title: "its own neighbour advertisements are dropped by the host that receives",
        families: V6,
        actions: &[Nft(Receiver, chain_of!("ip6", "output", "icmpv6 type nd-neighbor-advert drop")), ROUTER_FORGETS],
        expected: lost("answer_dropped_there"),
        ..LOST
    },
    Fault {
        name: "neighbour-ingress-dropped",
        title: "what asks for the host that receives is dropped at its device's ingress",
        actions: &[
            Nft(
                Receiver,
                device_chain!("ingress", "eth0", "arp operation request drop; icmpv6 type nd-neighbor-solicit drop"),
            ),
            ROUTER_FORGETS,
        ],
        expected: lost("question_dropped_there"),
        ..LOST
    },
];
