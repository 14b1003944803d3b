//! Faults of the host that receives on a leg, from its driver to the input hook: b of requests, a of replies.

use probe_ebpf::Direction;

use super::{ROW, chain, device_chain};
use crate::{
    ebpf::bpf_sys::XdpMode,
    lab::fault::{
        EACH, ExpectedDiagnosis, Fault, FaultLocation,
        Layer::{Tc as TcLayer, Xdp as XdpLayer},
        Outcome, REPLY, REQUEST,
        action::{
            FaultAction::{Ip, Iptables, Nft, ProbeFilter, Tc, Tcx, Xdp},
            ProgramVerdict::Drop,
        },
        site::On::{Receiver, Router},
    },
};

const AT: Fault = Fault { place: FaultLocation::Receiver, ..ROW };

/// Packets that an nftables chain drops.
const NF: (&str, &str) = ("NETFILTER_DROP", "nft_do_chain");

const fn in_chain(hook: &'static str, chain: &'static str) -> ExpectedDiagnosis {
    ExpectedDiagnosis::in_chain(hook, chain).reason(&["NETFILTER_DROP"]).events(NF, NF)
}

pub(super) const ROWS: &[Fault] = &[
    Fault {
        name: "xdp-native",
        title: "somebody else's XDP program drops, in the driver",
        legs: EACH,
        actions: &[Xdp(Receiver, XdpMode::Native, Drop)],
        expected: ExpectedDiagnosis::stopped(&[XdpLayer]).event("NOT_SPECIFIED", "veth_xdp_rcv_skb"),
        ..AT
    },
    Fault {
        name: "xdp-generic",
        title: "somebody else's XDP program drops, in the kernel's receive path",
        legs: EACH,
        actions: &[Xdp(Receiver, XdpMode::Generic, Drop)],
        expected: ExpectedDiagnosis::stopped(&[XdpLayer]).event("NOT_SPECIFIED", "do_xdp_generic"),
        ..AT
    },
    Fault {
        name: "probe-filter",
        title: "probe's own filter drops",
        legs: EACH,
        actions: &[ProbeFilter(Receiver)],
        expected: ExpectedDiagnosis::stopped(&[XdpLayer, TcLayer])
            .reason(&["PROBE_FILTER"])
            .event("NOT_SPECIFIED", "veth_xdp_rcv_skb"),
        ..AT
    },
    Fault {
        name: "tc-ingress",
        title: "somebody else's tc program drops at ingress",
        legs: EACH,
        actions: &[Tcx(Receiver, Direction::In, Drop)],
        expected: ExpectedDiagnosis::stopped(&[TcLayer])
            .reason(&["TC_INGRESS"])
            .event("TC_INGRESS", "__netif_receive_skb_core"),
        ..AT
    },
    Fault {
        name: "tc-redirect-ingress",
        title: "a tc filter at ingress sends them to a bridge that leads nowhere",
        legs: EACH,
        actions: &[
            Ip(Receiver, "link add d0 type bridge"),
            Ip(Receiver, "link set dev d0 up"),
            Tc(Receiver, "qdisc add dev eth0 clsact"),
            Tc(
                Receiver,
                "filter add dev eth0 ingress protocol all prio 1 u32 match u8 0 0 at 0 action mirred egress redirect dev d0",
            ),
        ],
        expected: ExpectedDiagnosis::stopped(&[TcLayer]).event("NO_TX_TARGET", "br_dev_xmit"),
        ..AT
    },
    Fault {
        name: "nft-ingress",
        title: "an nftables ingress chain of the interface drops",
        legs: EACH,
        actions: &[Nft(Receiver, device_chain!("ingress", "eth0", "{echo} drop"))],
        expected: in_chain("ingress", "ingress"),
        ..AT
    },
    Fault {
        name: "nft-raw",
        title: "an nftables prerouting chain drops before conntrack",
        legs: EACH,
        actions: &[Nft(Receiver, chain!("prerouting", "raw", "{echo} drop"))],
        expected: in_chain("prerouting", "prerouting"),
        ..AT
    },
    Fault {
        name: "nft-prerouting",
        title: "an nftables prerouting chain drops after conntrack",
        legs: EACH,
        actions: &[Nft(Receiver, chain!("prerouting", "mangle", "{echo} ct state new,established drop"))],
        expected: in_chain("prerouting", "prerouting"),
        ..AT
    },
    Fault {
        name: "nft-input",
        title: "an nftables input chain drops",
        legs: EACH,
        actions: &[Nft(Receiver, chain!("input", "filter", "{echo} drop"))],
        expected: in_chain("input", "input"),
        ..AT
    },
    Fault {
        name: "nft-input-policy",
        title: "an nftables input chain has no rule for it, and drops by policy",
        legs: EACH,
        actions: &[Nft(
            Receiver,
            "table inet probe_fault { chain input { type filter hook input priority filter; policy drop; \
             icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }\n}\n",
        )],
        expected: in_chain("input", "input"),
        ..AT
    },
    Fault {
        name: "nft-input-reject",
        title: "an nftables input chain rejects",
        legs: EACH,
        actions: &[Nft(Receiver, chain!("input", "filter", "{echo} reject with icmpx admin-prohibited"))],
        expected: in_chain("input", "input"),
        ..AT
    },
    Fault {
        name: "nft-input-every-other",
        title: "an nftables input chain drops every other packet",
        legs: EACH,
        actions: &[Nft(Receiver, chain!("input", "filter", "{echo} numgen inc mod 2 0 drop"))],
        expected: ExpectedDiagnosis { outcomes: &[Outcome::Lossy], ..in_chain("input", "input") },
        ..AT
    },
    Fault {
        name: "nft-fib",
        title: "a firewall's own reverse-path filter: the way back is another interface",
        legs: REQUEST,
        actions: &[
            Ip(Receiver, "link add d0 type veth peer name d1"),
            Ip(Receiver, "link set dev d0 up"),
            Ip(Receiver, "link set dev d1 up"),
            Ip(Receiver, "{-4} route add {sender}/{32} dev d0"),
            Nft(Receiver, chain!("prerouting", "raw", "{echo} fib saddr . iif oif missing drop")),
        ],
        expected: in_chain("prerouting", "prerouting"),
        ..AT
    },
    Fault {
        name: "iptables-queue",
        title: "a legacy rule hands them to an inspecting program that has died",
        legs: EACH,
        actions: &[Iptables(Receiver, "-A INPUT -p {icmp} --{icmp}-type {type} -j NFQUEUE --queue-num 7")],
        expected: ExpectedDiagnosis { chain: None, reasons: &[], ..in_chain("input", "") }
            .event("NOT_SPECIFIED", "nf_queue"),
        needs: Some(("iptables-legacy", "ip6tables-legacy")),
        ..AT
    },
    Fault {
        name: "iptables-input",
        title: "the legacy INPUT chain drops",
        legs: EACH,
        actions: &[Iptables(Receiver, "-A INPUT -p {icmp} --{icmp}-type {type} -j DROP")],
        expected: ExpectedDiagnosis { chain: None, ..in_chain("input", "") }.event("NETFILTER_DROP", "nf_hook_slow"),
        needs: Some(("iptables-legacy", "ip6tables-legacy")),
        ..AT
    },
    Fault {
        name: "ct-invalid-input",
        title: "an input chain drops what conntrack calls invalid: the checksum is wrong",
        legs: REQUEST,
        actions: &[
            Nft(Router, chain!("postrouting", "300", "{echo} {icmp} checksum set 0xdead")),
            Nft(Receiver, chain!("input", "filter", "{echo} ct state invalid drop")),
        ],
        expected: in_chain("input", "input"),
        ..AT
    },
    Fault {
        name: "ct-invalid-input",
        title: "an input chain drops what conntrack calls invalid: the request was not tracked",
        legs: REPLY,
        actions: &[Nft(
            Receiver,
            "table inet probe_fault { chain untracked { type filter hook output priority raw; {back} notrack; }\n \
             chain input { type filter hook input priority filter; {echo} ct state invalid drop; }\n}\n",
        )],
        expected: in_chain("input", "input"),
        ..AT
    },
];
