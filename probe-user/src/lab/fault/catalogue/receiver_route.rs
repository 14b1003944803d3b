//! Faults of the host that receives on a leg, where it routes: addresses, reverse path, NAT, `IPsec`, MAC addresses.

use super::{ROW, chain};
use crate::lab::fault::{
    EACH, ExpectedDiagnosis, Fault, FaultLocation,
    Layer::{Icmp, Ip as IpLayer, Netfilter, Path, Route, Socket},
    REPLY, REQUEST,
    Side::{Network, Peer},
    V4, V6,
    action::FaultAction::{Ip, Nft, Setting},
    site::On::{Receiver, Router},
};

const AT: Fault = Fault { place: FaultLocation::Receiver, ..ROW };

pub(super) const ROWS: &[Fault] = &[
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
        expected: ExpectedDiagnosis::stopped(&[Route])
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
        expected: ExpectedDiagnosis::stopped(&[Route])
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
        expected: ExpectedDiagnosis::stopped(&[Route])
            .events(("IP_INADDRERRORS", "ip_error"), ("IP_INADDRERRORS", "ip6_forward")),
        ..AT
    },
    Fault {
        name: "address-gone",
        title: "the address was taken from the host, while its neighbours remember it",
        actions: &[Ip(Receiver, "{-4} addr del {receiver}/{24} dev eth0")],
        expected: ExpectedDiagnosis { sides: &[Network, Peer], ..ExpectedDiagnosis::stopped(&[Route, IpLayer, Path]) },
        ..AT
    },
    Fault {
        name: "ipv6-disabled",
        title: "IPv6 is switched off on the interface",
        families: V6,
        actions: &[Setting(Receiver, "net/ipv6/conf/eth0/disable_ipv6", "1")],
        expected: ExpectedDiagnosis { sides: &[Network, Peer], ..ExpectedDiagnosis::stopped(&[Route, IpLayer, Path]) },
        ..AT
    },
    Fault {
        name: "dnat-elsewhere",
        title: "a NAT rule of the host gives them another destination",
        families: V4,
        actions: &[Nft(
            Receiver,
            "table ip probe_fault { chain prerouting { type nat hook prerouting priority dstnat; \
             {echo} dnat to 192.0.2.9; }\n}\n",
        )],
        expected: ExpectedDiagnosis::stopped(&[Route, Netfilter])
            .events(("IP_INADDRERRORS", "ip_error"), ("IP_INADDRERRORS", "ip6_forward")),
        ..AT
    },
    Fault {
        name: "dnat-elsewhere",
        title: "a NAT rule of the host gives them another destination",
        families: V6,
        actions: &[Nft(
            Receiver,
            "table ip6 probe_fault { chain prerouting { type nat hook prerouting priority dstnat; \
             {echo} dnat to 2001:db8::9; }\n}\n",
        )],
        expected: ExpectedDiagnosis::stopped(&[Route, Netfilter])
            .events(("IP_INADDRERRORS", "ip_error"), ("IP_INADDRERRORS", "ip6_forward")),
        ..AT
    },
    Fault {
        name: "xfrm-in",
        title: "an IPsec policy forbids what comes from the other end",
        legs: EACH,
        actions: &[Ip(Receiver, "xfrm policy add src {sender}/{32} dir in action block")],
        expected: ExpectedDiagnosis::stopped(&[Icmp, Socket])
            .events(("XFRM_POLICY", "icmp_rcv"), ("XFRM_POLICY", "icmpv6_rcv")),
        ..AT
    },
    Fault {
        name: "wrong-mac",
        title: "frames for another MAC address",
        legs: EACH,
        actions: &[Ip(Router, "{-4} neigh replace {receiver} lladdr 02:00:00:00:00:99 dev {out} nud permanent")],
        expected: ExpectedDiagnosis::stopped(&[IpLayer])
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
        expected: ExpectedDiagnosis::stopped(&[Route]).event("IP_LOCALNET", "ip_rcv_finish_core"),
        ..AT
    },
    Fault {
        name: "martian-source",
        title: "a source address that cannot be: loopback's",
        families: V6,
        legs: EACH,
        actions: &[Nft(Router, chain!("postrouting", "300", "{echo} ip6 saddr set ::1"))],
        expected: ExpectedDiagnosis::stopped(&[IpLayer, Route]).event("IP_INHDR", "ip6_rcv_core"),
        ..AT
    },
];
