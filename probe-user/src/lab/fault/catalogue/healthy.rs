//! Healthy paths: whatever else happens, no stop may be reported.

use probe_ebpf::Direction;

use super::{ROW, chain};
use crate::{
    ebpf::bpf_sys::XdpMode,
    lab::fault::{
        ExpectedDiagnosis, Fault, Outcome, Probe, V4, V6,
        action::{
            FaultAction::{Cgroup, Nft, Noise, OpenRouter, Setting, Tc, Tcx, Xdp},
            Noise::{OtherLab, Ping, UdpFlood},
            ProgramVerdict::Pass,
        },
        site::On::{Receiver, Router, Sender},
    },
};

/// The id of pings that are not the diagnosis's own.
const OTHER_ID: u16 = 0x2bad;

/// Every hook has a chain that lets everything pass.
const ACCEPTING: &str = r#"
table inet probe_fault {
    chain prerouting { type filter hook prerouting priority raw; accept; }
    chain input { type filter hook input priority filter; {icmp} type echo-request accept; ct state invalid counter; }
    chain output { type filter hook output priority filter; policy accept; }
    chain postrouting { type filter hook postrouting priority 300; accept; }
}
table netdev probe_fault {
    chain ingress { type filter hook ingress device "eth0" priority 0; accept; }
    chain egress { type filter hook egress device "eth0" priority 0; accept; }
}
"#;

/// What is not a ping or neighbour discovery is dropped, in and out.
const STRICT: &str = "
table inet probe_fault {
    chain input {
        type filter hook input priority filter; policy drop;
        icmp type { echo-request, echo-reply } accept
        icmpv6 type { echo-request, echo-reply, nd-neighbor-solicit, nd-neighbor-advert } accept
    }
    chain output {
        type filter hook output priority filter; policy drop;
        icmp type { echo-request, echo-reply } accept
        icmpv6 type { echo-request, echo-reply, nd-neighbor-solicit, nd-neighbor-advert } accept
    }
}
";

/// A root queue in which every second packet, by the low bit of the sequence number at this offset of the IP packet,
/// waits in a slow class.
macro_rules! reordering {
    ($protocol:literal, $offset:literal) => {
        &[
            Tc(Router, "qdisc add dev {out} root handle 1: htb default 10 r2q 1"),
            Tc(Router, "class add dev {out} parent 1: classid 1:10 htb rate 100mbit"),
            Tc(Router, "class add dev {out} parent 1: classid 1:20 htb rate 12kbit burst 10 cburst 10"),
            Tc(
                Router,
                concat!(
                    "filter add dev {out} parent 1: protocol ",
                    $protocol,
                    " prio 1 u32 match u8 0x01 0x01 at ",
                    $offset,
                    " flowid 1:20"
                ),
            ),
        ]
    };
}

/// Answered, but not as it was sent. A change of addresses alone is what every NAT makes: reporting it is right, and
/// calling the path delivered is right too.
const CHANGED: ExpectedDiagnosis = ExpectedDiagnosis { outcomes: &[Outcome::Altered], ..ExpectedDiagnosis::DELIVERED };
const READDRESSED: ExpectedDiagnosis =
    ExpectedDiagnosis { outcomes: &[Outcome::Altered, Outcome::Delivered], ..ExpectedDiagnosis::DELIVERED };

pub(super) const ROWS: &[Fault] = &[
    Fault { name: "healthy", title: "nothing is wrong", ..ROW },
    Fault {
        name: "healthy-accepting-chains",
        title: "firewalls on both hosts that let everything pass",
        actions: &[Nft(Sender, ACCEPTING), Nft(Receiver, ACCEPTING)],
        ..ROW
    },
    Fault {
        name: "healthy-strict-firewalls",
        title: "firewalls on both hosts that drop everything but pings",
        actions: &[Nft(Sender, STRICT), Nft(Receiver, STRICT)],
        ..ROW
    },
    Fault {
        name: "healthy-shaped",
        title: "token bucket filters with room enough",
        actions: &[
            Tc(Sender, "qdisc replace dev eth0 root tbf rate 20mbit burst 20000 limit 100000"),
            Tc(Router, "qdisc replace dev {out} root tbf rate 20mbit burst 20000 limit 100000"),
            Tc(Receiver, "qdisc replace dev eth0 root tbf rate 20mbit burst 20000 limit 100000"),
        ],
        ..ROW
    },
    Fault { name: "healthy-udp-flood", title: "a UDP flood to a closed port of b", actions: &[Noise(UdpFlood)], ..ROW },
    Fault {
        name: "healthy-other-ping-dropped",
        title: "another ping to b, with another id, is dropped there",
        actions: &[
            Nft(Receiver, chain!("input", "filter", "{echo} {icmp} id 0x2bad drop")),
            Noise(Ping { id: OTHER_ID, size: 56 }),
        ],
        ..ROW
    },
    Fault {
        name: "healthy-same-id",
        title: "another ping with the same id is dropped at b for its length",
        actions: &[
            Nft(Receiver, chain!("input", "filter", "{echo} meta length > 500 drop")),
            Noise(Ping { id: 0x1d1d, size: 600 }),
        ],
        probe: Probe { id: Some(0x1d1d), ..Probe::PLAIN },
        ..ROW
    },
    Fault {
        name: "healthy-other-lab",
        title: "a second pair of hosts with the same addresses drops its own ping",
        actions: &[Noise(OtherLab { id: OTHER_ID })],
        ..ROW
    },
    Fault {
        name: "healthy-foreign-programs",
        title: "somebody else's XDP and tc programs let everything pass",
        actions: &[
            Xdp(Receiver, XdpMode::Native, Pass),
            Tcx(Receiver, Direction::In, Pass),
            Tcx(Receiver, Direction::Out, Pass),
            Xdp(Sender, XdpMode::Generic, Pass),
            Tcx(Sender, Direction::In, Pass),
            Tcx(Sender, Direction::Out, Pass),
        ],
        ..ROW
    },
    Fault {
        name: "healthy-cgroup-programs",
        title: "somebody else's cgroup programs let everything pass",
        actions: &[Cgroup(Direction::Out, Pass), Cgroup(Direction::In, Pass)],
        ..ROW
    },
    Fault { name: "healthy-fragments", title: "packets in fragments", probe: Probe::sized(3000), ..ROW },
    Fault {
        name: "healthy-full-size",
        title: "packets as long as the MTU, not to be fragmented",
        probe: Probe { size: Some(1452), dont_fragment: true, ..Probe::PLAIN },
        ..ROW
    },
    Fault { name: "healthy-empty", title: "the smallest payload a probe can have", probe: Probe::sized(16), ..ROW },
    Fault { name: "healthy-ttl", title: "a TTL that is just enough", probe: Probe::ttl(2), ..ROW },
    Fault {
        name: "healthy-rp-filter",
        title: "strict reverse-path filters that have nothing to object to",
        families: V4,
        actions: &[
            Setting(Sender, "net/ipv4/conf/eth0/rp_filter", "1"),
            Setting(Receiver, "net/ipv4/conf/eth0/rp_filter", "1"),
        ],
        ..ROW
    },
    Fault {
        name: "healthy-large-dropped",
        title: "the router drops large packets, and the probes are small",
        actions: &[Nft(Router, chain!("forward", "filter", "meta length > 1000 drop"))],
        ..ROW
    },
    Fault { name: "healthy-many", title: "a thousand probes, and nothing is wrong", probe: Probe::MANY, ..ROW },
    Fault {
        name: "healthy-many-fragments",
        title: "a thousand probes in fragments",
        probe: Probe { size: Some(3000), ..Probe::MANY },
        ..ROW
    },
    Fault {
        name: "healthy-many-full-size",
        title: "a thousand probes as long as the MTU, not to be fragmented",
        probe: Probe { size: Some(1452), dont_fragment: true, ..Probe::MANY },
        ..ROW
    },
    Fault {
        name: "healthy-many-same-id",
        title: "a thousand probes, and another ping with their id is dropped at b for its length",
        actions: &[
            Nft(Receiver, chain!("input", "filter", "{echo} meta length > 500 drop")),
            Noise(Ping { id: 0x1d1e, size: 600 }),
        ],
        probe: Probe { id: Some(0x1d1e), ..Probe::MANY },
        ..ROW
    },
    Fault {
        name: "healthy-many-udp-flood",
        title: "a thousand probes beside a UDP flood to a closed port of b",
        actions: &[Noise(UdpFlood)],
        probe: Probe::MANY,
        ..ROW
    },
    Fault {
        name: "healthy-duplicates",
        title: "the router duplicates each request",
        actions: &[Nft(
            Router,
            "table {ip} probe_fault { chain prerouting { type filter hook prerouting priority raw; \
             iifname \"{in}\" {echo} dup to {receiver} device \"{out}\"; }\n}\n",
        )],
        ..ROW
    },
    Fault {
        name: "healthy-reordered",
        title: "every second request is overtaken by the next",
        families: V4,
        actions: reordering!("ip", "27"),
        ..ROW
    },
    Fault {
        name: "healthy-reordered",
        title: "every second request is overtaken by the next",
        families: V6,
        actions: reordering!("ipv6", "47"),
        ..ROW
    },
    Fault {
        name: "altered-id",
        title: "a NAT writes another source address and another id",
        actions: &[Nft(
            Router,
            "table inet probe_fault { chain postrouting { type nat hook postrouting priority srcnat; \
             oifname \"{out}\" {echo} masquerade fully-random; }\n}\n",
        )],
        expected: CHANGED,
        ..ROW
    },
    Fault {
        name: "altered-source",
        title: "a NAT writes another source address",
        actions: &[Nft(
            Router,
            "table inet probe_fault { chain postrouting { type nat hook postrouting priority srcnat; \
             oifname \"{out}\" {echo} masquerade; }\n}\n",
        )],
        expected: READDRESSED,
        ..ROW
    },
    Fault {
        name: "altered-reply-source",
        title: "b's reply comes from another address than the target's",
        families: V4,
        actions: &[OpenRouter, Nft(Receiver, chain!("postrouting", "300", "{back} ip saddr set 10.78.0.99"))],
        expected: CHANGED,
        ..ROW
    },
    Fault {
        name: "altered-reply-source",
        title: "b's reply comes from another address than the target's",
        families: V6,
        actions: &[OpenRouter, Nft(Receiver, chain!("postrouting", "300", "{back} ip6 saddr set fd77:0:0:b::99"))],
        expected: CHANGED,
        ..ROW
    },
];
