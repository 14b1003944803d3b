//! Faults between the hosts: all that two ends can say is that packets left one and never reached the other.

use super::{ROW, chain, device_chain};
use crate::lab::fault::{
    EACH, ExpectedDiagnosis, Fault, FaultLocation,
    Layer::{Driver, Path},
    Outcome, Probe, REPLY,
    Side::{Network, Peer},
    V4, V6,
    action::FaultAction::{Ip, Nft, Setting, Tc},
    site::On::{Receiver, Router, Sender},
};

const AT: Fault = Fault { place: FaultLocation::Network, expected: LOST, ..ROW };

const LOST: ExpectedDiagnosis = ExpectedDiagnosis::stopped(&[Path]).certain();

pub(super) const ROWS: &[Fault] = &[
    Fault {
        name: "drops",
        title: "the router drops",
        legs: EACH,
        actions: &[Nft(Router, chain!("forward", "filter", "{echo} drop"))],
        expected: LOST.event("NETFILTER_DROP", "nft_do_chain"),
        ..AT
    },
    Fault {
        name: "drops-early",
        title: "the router drops before it routes",
        legs: EACH,
        actions: &[Nft(Router, device_chain!("ingress", "{in}", "{echo} drop"))],
        expected: LOST.event("NETFILTER_DROP", "nft_do_chain"),
        ..AT
    },
    Fault {
        name: "every-other",
        title: "the router drops every other packet",
        legs: EACH,
        actions: &[Nft(Router, chain!("forward", "filter", "{echo} numgen inc mod 2 0 drop"))],
        expected: ExpectedDiagnosis::lossy(&[Path]).certain().event("NETFILTER_DROP", "nft_do_chain"),
        ..AT
    },
    Fault {
        name: "large-only",
        title: "the router drops only large packets, and the probes are large",
        legs: EACH,
        actions: &[Nft(Router, chain!("forward", "filter", "{echo} meta length > 1000 drop"))],
        probe: Probe::sized(1200),
        expected: LOST.event("NETFILTER_DROP", "nft_do_chain"),
        ..AT
    },
    Fault {
        name: "drops-fragments",
        title: "the router drops fragments, and the probes are in fragments",
        legs: EACH,
        families: V4,
        actions: &[Nft(Router, device_chain!("ingress", "{in}", "ip frag-off & 0x3fff != 0 drop"))],
        probe: Probe::sized(3000),
        expected: LOST.event("NETFILTER_DROP", "nft_do_chain"),
        ..AT
    },
    Fault {
        name: "drops-fragments",
        title: "the router drops fragments, and the probes are in fragments",
        legs: EACH,
        families: V6,
        actions: &[Nft(Router, device_chain!("ingress", "{in}", "exthdr frag exists drop"))],
        probe: Probe::sized(3000),
        expected: LOST.event("NETFILTER_DROP", "nft_do_chain"),
        ..AT
    },
    Fault {
        name: "rejects",
        title: "the router rejects with an ICMP error",
        legs: EACH,
        actions: &[Nft(Router, chain!("forward", "filter", "{echo} reject with icmpx admin-prohibited"))],
        expected: LOST.event("NETFILTER_DROP", "nft_do_chain"),
        ..AT
    },
    Fault {
        name: "unsolicited-reply",
        title: "the stateful firewall drops a reply that nobody asked for",
        probe: Probe { reply_only: true, ..Probe::PLAIN },
        expected: ExpectedDiagnosis { any_leg: true, ..LOST }.event("NETFILTER_DROP", "nft_do_chain"),
        ..AT
    },
    Fault {
        name: "other-id",
        title: "the stateful firewall drops a reply with another id than the request's",
        legs: REPLY,
        actions: &[Nft(Router, chain!("prerouting", "raw", "iifname \"{in}\" {echo} {icmp} id set 4660"))],
        expected: LOST.event("NETFILTER_DROP", "nft_do_chain"),
        ..AT
    },
    Fault {
        name: "expired-state",
        title: "the stateful firewall has forgotten the request when the reply comes",
        legs: REPLY,
        actions: &[Setting(Router, "net/netfilter/nf_conntrack_{icmp}_timeout", "0")],
        expected: LOST.event("NETFILTER_DROP", "nft_do_chain"),
        ..AT
    },
    Fault {
        name: "ttl",
        title: "the TTL runs out at the router",
        probe: Probe::ttl(1),
        expected: LOST.events(("IP_INHDR", "ip_forward"), ("IP_INHDR", "ip6_forward")),
        ..AT
    },
    Fault {
        name: "reply-ttl",
        title: "b's default TTL runs out at the router",
        families: V4,
        legs: REPLY,
        actions: &[Setting(Sender, "net/ipv4/ip_default_ttl", "1")],
        expected: LOST.events(("IP_INHDR", "ip_forward"), ("IP_INHDR", "ip6_forward")),
        ..AT
    },
    Fault {
        name: "reply-ttl",
        title: "b's default hop limit runs out at the router",
        families: V6,
        legs: REPLY,
        actions: &[Setting(Sender, "net/ipv6/conf/eth0/hop_limit", "1")],
        expected: LOST.events(("IP_INHDR", "ip_forward"), ("IP_INHDR", "ip6_forward")),
        ..AT
    },
    Fault {
        name: "no-route",
        title: "the router has no route",
        legs: EACH,
        actions: &[Ip(Router, "{-4} route flush dev {out}")],
        expected: LOST.events(("IP_INNOROUTES", "ip_error"), ("IP_INNOROUTES", "ip6_pkt_discard")),
        ..AT
    },
    Fault {
        name: "blackhole-route",
        title: "the router has a blackhole route",
        legs: EACH,
        actions: &[Ip(Router, "{-4} route add blackhole {receiver}/{32}")],
        expected: LOST.events(("NOT_SPECIFIED", "ip_error"), ("NOT_SPECIFIED", "dst_discard_out")),
        ..AT
    },
    Fault {
        name: "prohibit-route",
        title: "the router has a prohibit route",
        legs: EACH,
        actions: &[Ip(Router, "{-4} route add prohibit {receiver}/{32}")],
        expected: LOST.events(("NOT_SPECIFIED", "ip_error"), ("IP_INNOROUTES", "ip6_pkt_prohibit")),
        ..AT
    },
    Fault {
        name: "forwarding-off",
        title: "the router does not forward",
        families: V4,
        actions: &[Setting(Router, "net/ipv4/ip_forward", "0")],
        expected: LOST.events(("IP_INADDRERRORS", "ip_error"), ("IP_INADDRERRORS", "ip6_forward")),
        ..AT
    },
    Fault {
        name: "forwarding-off",
        title: "the router does not forward",
        families: V6,
        actions: &[Setting(Router, "net/ipv6/conf/all/forwarding", "0")],
        expected: LOST.events(("IP_INADDRERRORS", "ip_error"), ("IP_INADDRERRORS", "ip6_forward")),
        ..AT
    },
    Fault {
        name: "far-link-down",
        title: "the router's link towards b is switched off",
        actions: &[Ip(Router, "link set dev {out} down")],
        expected: LOST.events(("IP_INNOROUTES", "ip_error"), ("IP_INNOROUTES", "ip6_pkt_discard")),
        ..AT
    },
    Fault {
        name: "far-host-down",
        title: "b's interface is switched off",
        actions: &[Ip(Receiver, "link set dev eth0 down")],
        expected: ExpectedDiagnosis { sides: &[Network, Peer], ..ExpectedDiagnosis::stopped(&[Path, Driver]) },
        ..AT
    },
    Fault {
        name: "neighbour-unresolved",
        title: "the router cannot resolve the next host's address",
        legs: EACH,
        actions: &[
            Nft(
                Receiver,
                device_chain!("ingress", "eth0", "meta protocol arp drop; icmpv6 type nd-neighbor-solicit drop"),
            ),
            Setting(Router, "net/{ipv}/neigh/{out}/retrans_time_ms", "100"),
            Setting(Router, "net/{ipv}/neigh/{out}/mcast_solicit", "1"),
            Ip(Router, "{-4} neigh del {receiver} dev {out}"),
        ],
        expected: LOST.events(("NEIGH_FAILED", "neigh_invalidate"), ("NOT_SPECIFIED", "neigh_invalidate")),
        ..AT
    },
    Fault {
        name: "queue-full",
        title: "the router's queue has no room",
        legs: EACH,
        actions: &[Tc(Router, "qdisc replace dev {out} root tbf rate 1mbit burst 90 limit 1000")],
        expected: LOST.event("QDISC_DROP", "__dev_queue_xmit"),
        ..AT
    },
    Fault {
        name: "small-mtu",
        title: "a link on the way has a small MTU, and the packets must not be fragmented",
        actions: &[Ip(Router, "link set dev {out} mtu 1280")],
        probe: Probe::whole(1400),
        expected: LOST.events(("PKT_TOO_BIG", "ip_forward"), ("PKT_TOO_BIG", "ip6_forward")),
        ..AT
    },
    Fault {
        name: "mtu-black-hole",
        title: "a link on the way has a small MTU, and the router's word about it is dropped",
        actions: &[
            Ip(Router, "link set dev {out} mtu 1280"),
            Nft(
                Router,
                chain!("output", "filter", "icmp type destination-unreachable drop; icmpv6 type packet-too-big drop"),
            ),
        ],
        probe: Probe::whole(1400),
        expected: LOST.events(("PKT_TOO_BIG", "ip_forward"), ("PKT_TOO_BIG", "ip6_forward")),
        ..AT
    },
    Fault {
        name: "loop",
        title: "the router's route leads back to where they came from",
        legs: EACH,
        actions: &[Ip(Router, "{-4} route add {receiver}/{32} via {sender}")],
        expected: LOST,
        ..AT
    },
    Fault {
        name: "stale-mac",
        title: "the sending host has a MAC address for its gateway that nobody has any more",
        legs: EACH,
        actions: &[Ip(Sender, "{-4} neigh replace {gateway} lladdr 02:00:00:00:00:99 dev eth0 nud permanent")],
        expected: LOST.events(("OTHERHOST", "ip_rcv_core"), ("OTHERHOST", "ip6_rcv_core")),
        ..AT
    },
    Fault {
        name: "late",
        title: "the router holds them back for longer than anybody waits",
        legs: EACH,
        actions: &[
            Tc(Router, "qdisc add dev {out} root handle 1: htb default 10 r2q 1"),
            Tc(Router, "class add dev {out} parent 1: classid 1:10 htb rate 80bit burst 10 cburst 10"),
        ],
        expected: ExpectedDiagnosis { outcomes: &[Outcome::Stopped, Outcome::Lossy], ..LOST },
        ..AT
    },
    Fault {
        name: "mtu-mismatch",
        title: "b's end of the link has a smaller MTU than the router's",
        actions: &[Ip(Receiver, "link set dev eth0 mtu 1280")],
        probe: Probe::sized(1400),
        expected: ExpectedDiagnosis { sides: &[Network, Peer], ..ExpectedDiagnosis::stopped(&[Path, Driver]) }
            .event("NOT_SPECIFIED", "__dev_forward_skb2"),
        ..AT
    },
];
