//! Faults of the host that receives on a leg, from its driver to the input hook: b of requests, a of replies.

use probe_ebpf::Direction;

use super::{ROW, chain, device_chain};
use crate::{
    kernel::bpf_sys::XdpMode,
    lab::fault::{
        EACH, Expected, Fault,
        Layer::{Ip as IpLayer, Route, Tc, Xdp as XdpLayer},
        Place, REPLY, REQUEST, V4, V6,
        action::{
            Action::{Ip, Iptables, Nft, ProbeFilter, Setting, Tcx, Xdp},
            Answer::Drop,
        },
        site::On::{Receiver, Router},
    },
};

const AT: Fault = Fault { place: Place::Receiver, ..ROW };

/// Packets that an nftables chain drops.
const NF: (&str, &str) = ("NETFILTER_DROP", "nft_do_chain");

const fn in_chain(hook: &'static str, chain: &'static str) -> Expected {
    Expected::in_chain(hook, chain).reason(&["NETFILTER_DROP"]).events(NF, NF)
}

pub(super) const ROWS: &[Fault] = &[
    Fault {
        name: "xdp-native",
        title: "somebody else's XDP program drops, in the driver",
        legs: EACH,
        actions: &[Xdp(Receiver, XdpMode::Native, Drop)],
        expected: Expected::stopped(&[XdpLayer]).event("NOT_SPECIFIED", "veth_xdp_rcv_skb"),
        ..AT
    },
    Fault {
        name: "xdp-generic",
        title: "somebody else's XDP program drops, in the kernel's receive path",
        legs: EACH,
        actions: &[Xdp(Receiver, XdpMode::Generic, Drop)],
        expected: Expected::stopped(&[XdpLayer]).event("NOT_SPECIFIED", "do_xdp_generic"),
        ..AT
    },
    Fault {
        name: "probe-filter",
        title: "probe's own filter drops",
        legs: EACH,
        actions: &[ProbeFilter(Receiver)],
        expected: Expected::stopped(&[XdpLayer, Tc])
            .reason(&["PROBE_FILTER"])
            .event("NOT_SPECIFIED", "veth_xdp_rcv_skb"),
        ..AT
    },
    Fault {
        name: "tc-ingress",
        title: "somebody else's tc program drops at ingress",
        legs: EACH,
        actions: &[Tcx(Receiver, Direction::In, Drop)],
        expected: Expected::stopped(&[Tc]).reason(&["TC_INGRESS"]).event("TC_INGRESS", "__netif_receive_skb_core"),
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
        name: "iptables-input",
        title: "the legacy INPUT chain drops",
        legs: EACH,
        actions: &[Iptables(Receiver, "-A INPUT -p {icmp} --{icmp}-type {type} -j DROP")],
        expected: Expected { chain: None, ..in_chain("input", "") }.event("NETFILTER_DROP", "nf_hook_slow"),
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
    Fault {
        name: "rp-filter",
        title: "the reverse-path filter: the way back is another interface",
        families: V4,
        legs: REQUEST,
        actions: &[
            Ip(Receiver, "link add d0 type veth peer name d1"),
            Ip(Receiver, "link set dev d0 up"),
            Ip(Receiver, "link set dev d1 up"),
            Ip(Receiver, "route add {sender}/32 dev d0"),
            Setting(Receiver, "net/ipv4/conf/eth0/rp_filter", "1"),
        ],
        expected: Expected::stopped(&[Route])
            .reason(&["IP_RPFILTER"])
            .certain()
            .event("IP_RPFILTER", "ip_rcv_finish_core"),
        ..AT
    },
    Fault {
        name: "rp-filter",
        title: "the reverse-path filter: the reply comes from an address behind another interface",
        families: V4,
        legs: REPLY,
        actions: &[
            Ip(Receiver, "link add d0 type veth peer name d1"),
            Ip(Receiver, "link set dev d0 up"),
            Ip(Receiver, "link set dev d1 up"),
            Ip(Receiver, "route add 10.99.0.0/24 dev d0"),
            Setting(Receiver, "net/ipv4/conf/eth0/rp_filter", "1"),
            Nft(Router, chain!("postrouting", "300", "{echo} ip saddr set 10.99.0.9")),
        ],
        expected: Expected::stopped(&[Route])
            .reason(&["IP_RPFILTER"])
            .certain()
            .event("IP_RPFILTER", "ip_rcv_finish_core"),
        ..AT
    },
    Fault {
        name: "not-local",
        title: "the destination is no address of the host any more",
        legs: EACH,
        actions: &[Ip(Receiver, "{-4} route del local {receiver} dev eth0 table local")],
        expected: Expected::stopped(&[Route])
            .events(("IP_INADDRERRORS", "ip_error"), ("IP_INADDRERRORS", "ip6_forward")),
        ..AT
    },
    Fault {
        name: "wrong-mac",
        title: "frames for another MAC address",
        legs: EACH,
        actions: &[Ip(Router, "{-4} neigh replace {receiver} lladdr 02:00:00:00:00:99 dev {out} nud permanent")],
        expected: Expected::stopped(&[IpLayer])
            .reason(&["OTHERHOST"])
            .certain()
            .events(("OTHERHOST", "ip_rcv_core"), ("OTHERHOST", "ip6_rcv_core")),
        ..AT
    },
    Fault {
        name: "martian-source",
        title: "a source address that cannot be: loopback's",
        families: V4,
        legs: EACH,
        actions: &[Nft(Router, chain!("postrouting", "300", "{echo} ip saddr set 127.0.0.1"))],
        expected: Expected::stopped(&[Route]).event("IP_LOCALNET", "ip_rcv_finish_core"),
        ..AT
    },
    Fault {
        name: "martian-source",
        title: "a source address that cannot be: loopback's",
        families: V6,
        legs: EACH,
        actions: &[Nft(Router, chain!("postrouting", "300", "{echo} ip6 saddr set ::1"))],
        expected: Expected::stopped(&[IpLayer, Route]).event("IP_INHDR", "ip6_rcv_core"),
        ..AT
    },
];
