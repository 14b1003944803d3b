//! Faults of the host that sends on a leg, after its firewall: cgroup, MTU, neighbours, tc, queue, and the limit of
//! ICMP.

use probe_ebpf::Direction;

use super::{ROW, device_chain};
use crate::lab::fault::{
    EACH, ExpectedDiagnosis, Fault, FaultLocation,
    Layer::{Cgroup as CgroupLayer, Icmp, Ip as IpLayer, Neighbour, Qdisc, Socket, Tc as TcLayer},
    Probe, REPLY, V4, V6,
    action::{
        FaultAction::{Cgroup, Ip, Nft, Setting, Spend, Tc, Tcx},
        ProgramVerdict::Drop,
    },
    site::On::{Router, Sender},
};

const AT: Fault = Fault { place: FaultLocation::Sender, ..ROW };

pub(super) const ROWS: &[Fault] = &[
    Fault {
        name: "cgroup-egress",
        title: "a cgroup program denies what the process sends",
        actions: &[Cgroup(Direction::Out, Drop)],
        expected: ExpectedDiagnosis::stopped(&[CgroupLayer])
            .events(("BPF_CGROUP_EGRESS", "ip_finish_output"), ("BPF_CGROUP_EGRESS", "ip6_finish_output")),
        ..AT
    },
    Fault {
        name: "tc-egress",
        title: "somebody else's tc program drops at egress",
        legs: EACH,
        actions: &[Tcx(Sender, Direction::Out, Drop)],
        expected: ExpectedDiagnosis::stopped(&[TcLayer]).reason(&["TC_EGRESS"]).event("TC_EGRESS", "__dev_queue_xmit"),
        ..AT
    },
    Fault {
        name: "qdisc-full",
        title: "the interface's queue has no room: a token bucket filter",
        legs: EACH,
        // Neighbour discovery is shorter than its bucket, echo packets are longer.
        actions: &[Tc(Sender, "qdisc replace dev eth0 root tbf rate 1mbit burst 90 limit 1000")],
        expected: ExpectedDiagnosis::stopped(&[Qdisc]).reason(&["QDISC_DROP"]).event("QDISC_DROP", "__dev_queue_xmit"),
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
        expected: ExpectedDiagnosis::stopped(&[Neighbour])
            .reason(&["NEIGH_FAILED", "NOT_SPECIFIED"])
            .events(("NEIGH_FAILED", "neigh_invalidate"), ("NOT_SPECIFIED", "neigh_invalidate")),
        ..AT
    },
    Fault {
        name: "neighbour-silent",
        title: "the gateway has not answered ARP or neighbour solicitation when the run ends",
        legs: EACH,
        actions: &[
            Nft(
                Router,
                device_chain!("ingress", "{in}", "meta protocol arp drop; icmpv6 type nd-neighbor-solicit drop"),
            ),
            Ip(Sender, "{-4} neigh del {gateway} dev eth0"),
        ],
        expected: ExpectedDiagnosis::stopped(&[Neighbour]),
        ..AT
    },
    Fault {
        name: "tc-redirect-egress",
        title: "a tc filter at egress sends them to a bridge that leads nowhere",
        legs: EACH,
        actions: &[
            Ip(Sender, "link add d0 type bridge"),
            Ip(Sender, "link set dev d0 up"),
            Tc(Sender, "qdisc add dev eth0 clsact"),
            Tc(
                Sender,
                "filter add dev eth0 egress protocol all prio 1 u32 match u8 0 0 at 0 action mirred egress redirect dev d0",
            ),
        ],
        expected: ExpectedDiagnosis::stopped(&[TcLayer]).event("NO_TX_TARGET", "br_dev_xmit"),
        ..AT
    },
    Fault {
        name: "above-mtu",
        title: "packets above the MTU that must not be fragmented",
        probe: Probe::whole(1600),
        expected: ExpectedDiagnosis::stopped(&[IpLayer, Socket]),
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
        expected: ExpectedDiagnosis::stopped(&[Icmp]),
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
        expected: ExpectedDiagnosis::stopped(&[Icmp]).event("NOT_SPECIFIED", "icmpv6_rcv"),
        ..AT
    },
];
