//! Faults of the host that receives on a leg, in IP, ICMP and the socket: b of requests, a of replies.

use probe_ebpf::Direction;

use super::{ROW, chain, device_chain};
use crate::lab::fault::{
    EACH, ExpectedDiagnosis, Fault, FaultLocation,
    Layer::{Cgroup as CgroupLayer, Icmp, Ip as IpLayer, Path, Socket},
    Probe, REPLY, REQUEST,
    Side::{Local, Network, Peer},
    SocketTrouble, V4, V6,
    action::{
        FaultAction::{Cgroup, Nft, Setting},
        ProgramVerdict::Drop,
    },
    site::On::{Receiver, Router},
};

const AT: Fault = Fault { place: FaultLocation::Receiver, ..ROW };

pub(super) const ROWS: &[Fault] = &[
    Fault {
        name: "bad-ip-checksum",
        title: "the checksum of the IP header is wrong",
        families: V4,
        legs: EACH,
        actions: &[Nft(Router, chain!("postrouting", "300", "{echo} ip checksum set 0xdead"))],
        expected: ExpectedDiagnosis::stopped(&[IpLayer]).reason(&["IP_CSUM"]).certain().event("IP_CSUM", "ip_rcv_core"),
        ..AT
    },
    Fault {
        name: "bad-icmp-checksum",
        title: "the checksum of the ICMP message is wrong",
        legs: REQUEST,
        actions: &[Nft(Router, chain!("postrouting", "300", "{echo} {icmp} checksum set 0xdead"))],
        expected: ExpectedDiagnosis::stopped(&[Icmp])
            .reason(&["ICMP_CSUM"])
            .certain()
            .events(("ICMP_CSUM", "icmp_rcv"), ("ICMP_CSUM", "icmpv6_rcv")),
        ..AT
    },
    Fault {
        name: "fragments-no-memory",
        title: "the host may keep no fragments",
        families: V4,
        legs: EACH,
        actions: &[
            Setting(Receiver, "net/ipv4/ipfrag_low_thresh", "0"),
            Setting(Receiver, "net/ipv4/ipfrag_high_thresh", "0"),
        ],
        probe: Probe::sized(3000),
        expected: ExpectedDiagnosis::stopped(&[IpLayer])
            .events(("NOT_SPECIFIED", "ip_defrag"), ("NOT_SPECIFIED", "ipv6_frag_rcv")),
        ..AT
    },
    Fault {
        name: "fragments-no-memory",
        title: "the host may keep no fragments",
        families: V6,
        legs: EACH,
        actions: &[
            Setting(Receiver, "net/ipv6/ip6frag_low_thresh", "0"),
            Setting(Receiver, "net/ipv6/ip6frag_high_thresh", "0"),
        ],
        probe: Probe::sized(3000),
        expected: ExpectedDiagnosis::stopped(&[IpLayer])
            .events(("NOT_SPECIFIED", "ip_defrag"), ("NOT_SPECIFIED", "ipv6_frag_rcv")),
        ..AT
    },
    incomplete(V4, REQUEST, V4_INCOMPLETE, &[Peer, Network]),
    incomplete(V4, REPLY, V4_INCOMPLETE, &[Local, Network]),
    incomplete(V6, REQUEST, V6_INCOMPLETE, &[Peer, Network]),
    incomplete(V6, REPLY, V6_INCOMPLETE, &[Local, Network]),
    Fault {
        name: "echo-ignore-all",
        title: "the kernel ignores echo requests",
        families: V4,
        actions: &[Setting(Receiver, "net/ipv4/icmp_echo_ignore_all", "1")],
        expected: ExpectedDiagnosis::stopped(&[Icmp]),
        ..AT
    },
    Fault {
        name: "echo-ignore-all",
        title: "the kernel ignores echo requests",
        families: V6,
        actions: &[Setting(Receiver, "net/ipv6/icmp/echo_ignore_all", "1")],
        // Over IPv4 it is consumed without an event.
        expected: ExpectedDiagnosis::stopped(&[Icmp]).event("NOT_SPECIFIED", "icmpv6_rcv"),
        ..AT
    },
    Fault {
        name: "echo-ignore-broadcasts",
        title: "the request reaches b as a broadcast, and its kernel ignores those",
        families: V4,
        actions: &[Nft(Router, chain!("postrouting", "300", "{echo} ip daddr set 10.78.0.255"))],
        expected: ExpectedDiagnosis::stopped(&[Icmp]).event("INVALID_PROTO", "icmp_rcv"),
        ..AT
    },
    Fault {
        name: "cgroup-ingress",
        title: "a cgroup program denies what the process would receive",
        legs: REPLY,
        actions: &[Cgroup(Direction::In, Drop)],
        // The kernel gives the reason of a socket filter, and runs every cgroup program whatever one of them answers.
        expected: ExpectedDiagnosis::stopped(&[CgroupLayer, Socket])
            .events(("SOCKET_FILTER", "raw_rcv"), ("SOCKET_FILTER", "rawv6_rcv")),
        ..AT
    },
];

/// What only a program can do to its own socket. probe does it to none of its own, and nobody else can (a cgroup
/// program aside), so `probe diagnose` cannot be tried on it: the library's tests cover these on sockets of their own.
pub(super) const OWN_SOCKET: &[Fault] = &[
    Fault {
        name: "socket-filter",
        title: "a filter on the socket that waits for the replies drops them",
        legs: REPLY,
        probe: Probe { socket: Some(SocketTrouble::Filter), ..Probe::PLAIN },
        expected: ExpectedDiagnosis::stopped(&[Socket])
            .reason(&["SOCKET_FILTER"])
            .events(("SOCKET_FILTER", "raw_rcv"), ("SOCKET_FILTER", "rawv6_rcv")),
        ..AT
    },
    Fault {
        name: "socket-buffer",
        title: "the buffer of the socket that waits for the replies has room for one",
        legs: REPLY,
        probe: Probe { size: Some(1400), socket: Some(SocketTrouble::Buffer), ..Probe::PLAIN },
        // For a raw socket that is full the kernel only raises a counter.
        expected: ExpectedDiagnosis::lossy(&[Socket]),
        ..AT
    },
];

/// Only the first fragment of each packet gets past the router; the host waits a second for the others.
const V4_INCOMPLETE: &[super::super::FaultAction] = &[
    Nft(Router, device_chain!("egress", "{out}", "ip frag-off & 0x1fff != 0 drop")),
    Setting(Receiver, "net/ipv4/ipfrag_time", "1"),
];
const V6_INCOMPLETE: &[super::super::FaultAction] = &[
    Nft(Router, device_chain!("egress", "{out}", "frag frag-off != 0 drop")),
    Setting(Receiver, "net/ipv6/ip6frag_time", "1"),
];

/// Expects an incomplete packet. "The network lost a fragment" is as right as "the host could not reassemble it".
const fn incomplete(
    families: &'static [probe_ebpf::Family],
    legs: &'static [super::super::Echo],
    actions: &'static [super::super::FaultAction],
    sides: &'static [super::super::Side],
) -> Fault {
    Fault {
        name: "fragments-incomplete",
        title: "of each packet only the first fragment arrives",
        families,
        legs,
        actions,
        probe: Probe::sized(3000),
        expected: ExpectedDiagnosis { sides, ..ExpectedDiagnosis::stopped(&[IpLayer, Path]) }
            .events(("FRAG_REASM_TIMEOUT", "ip_expire"), ("FRAG_REASM_TIMEOUT", "ip6_frag_expire")),
        ..AT
    }
}
