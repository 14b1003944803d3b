//! Drop events that are no loss: a copy that was freed while the packet went on, or one that had arrived.
//!
//! What probe's own filter drops is a loss, and stays: the verdict knows the filter by its counters.

use super::{Drop, NeighbourHop, NeighbourPacket, plain_function};
use probe_ebpf::Echo;

/// Why a drop event is no loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Benign {
    /// Raw sockets received copies of this reply; then the kernel looked for a ping socket too, and found none.
    NoPingSocket,
    /// It lay unread in a socket's queue, delivered, when that socket was closed.
    SocketClosed,
    /// A copy for a packet capture, which had no room for it or did not want it.
    Capture,
    /// The kernel was done with this IPv6 request: before Linux 6.3 it frees those that it answers like all others.
    /// Whether it answered, the hops say.
    DoneByIcmpv6,
    /// A copy of a request for a program's raw socket, which had no room for it or did not want it. The kernel answers
    /// requests whatever becomes of such copies.
    RawCopy,
}

impl Benign {
    /// Returns why, as a clause for people.
    pub const fn why(self) -> &'static str {
        match self {
            Self::NoPingSocket => "no ping socket, after raw sockets had their copies",
            Self::SocketClosed => "unread in a socket that was closed",
            Self::Capture => "a copy for a packet capture",
            Self::DoneByIcmpv6 => "a request that the kernel's ICMPv6 was done with",
            Self::RawCopy => "a copy of a request for a raw socket",
        }
    }
}

/// Where the kernel looks for a ping socket; before Linux 6.13 the caller freed what had none.
const PING: [&str; 3] = ["ping_rcv", "icmp_rcv", "icmpv6_rcv"];

/// Where raw sockets get their copies.
const RAW: [&str; 4] = ["raw_rcv", "raw_rcv_skb", "rawv6_rcv", "rawv6_rcv_skb"];

/// Where packet sockets (`AF_PACKET`) get theirs.
const CAPTURE: [&str; 4] = ["packet_rcv", "tpacket_rcv", "packet_rcv_fanout", "packet_rcv_spkt"];

/// How the kernel's `ICMPv6` frees a request that it is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmpv6Frees {
    /// Consumed if it was answered, with a reason if it was not: since Linux 6.3.
    AsItFared,
    /// All alike, as dropped without a reason.
    Alike,
}

/// The reason of a packet that no socket waits for.
pub const NO_SOCKET: &str = "NO_SOCKET";

/// What stands for the reason on a kernel that gives none: before Linux 5.17.
pub const NOT_GIVEN: &str = "NOT_GIVEN";

/// Reports whether the kernel consumed the packet normally.
pub fn is_consumed(drop: &Drop) -> bool {
    is_peaceful(&drop.reason)
}

/// Reports whether a packet that is freed for this reason was no loss: the kernel was done with it.
fn is_peaceful(reason: &str) -> bool {
    matches!(reason, "CONSUMED" | "SKB_CONSUMED" | "NOT_DROPPED_YET")
}

/// Reports whether a packet of ARP or neighbour discovery that was freed is no loss: the kernel was done with it, as
/// `ICMPv6` is with all that it took in, or a copy for a capture or a raw socket ended.
pub fn is_done_with_neighbour(packet: &NeighbourPacket) -> bool {
    let function = plain_function(&packet.function);
    let copy = CAPTURE.contains(&function) || RAW.contains(&function);
    packet.hop == NeighbourHop::Dropped && (is_peaceful(&packet.reason) || copy || function == "icmpv6_rcv")
}

/// Reports whether the event is no loss: what the kernel was done with, or what [`benign`] knows.
pub fn is_no_loss(drop: &Drop) -> bool {
    is_consumed(drop) || benign(drop, Icmpv6Frees::AsItFared).is_some()
}

/// Reports whether the packet may have arrived nevertheless: it is no loss, or by its reason alone may be none. For
/// callers that would rather wait than mistake the end of a copy for that of the packet.
pub fn may_have_arrived(drop: &Drop) -> bool {
    is_no_loss(drop) || matches!(drop.reason.as_str(), NO_SOCKET | "QUEUE_PURGE" | NOT_GIVEN)
}

/// Returns why `drop` is no loss on such a kernel; `None`: it may be one.
pub fn benign(drop: &Drop, icmpv6: Icmpv6Frees) -> Option<Benign> {
    let function = plain_function(&drop.function);
    let unsaid = drop.reason == NOT_GIVEN;
    if drop.leg == Echo::Reply && (unsaid || drop.reason == NO_SOCKET) && PING.contains(&function) {
        return Some(Benign::NoPingSocket);
    }
    // The kernel removes the device from a packet that it queues to a socket; other queues keep it.
    let queued = drop.interface.is_none();
    let purged = drop.reason == "QUEUE_PURGE" || unsaid && function == "skb_queue_purge";
    if function == "inet_sock_destruct" || queued && purged {
        return Some(Benign::SocketClosed);
    }
    if CAPTURE.contains(&function) {
        return Some(Benign::Capture);
    }
    let vague = unsaid || drop.reason == "NOT_SPECIFIED";
    if vague && drop.leg == Echo::Request && function == "icmpv6_rcv" && icmpv6 == Icmpv6Frees::Alike {
        return Some(Benign::DoneByIcmpv6);
    }
    (drop.leg == Echo::Request && RAW.contains(&function)).then_some(Benign::RawCopy)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// Returns why `drop` is no loss on a current kernel.
    fn judged(drop: &Drop) -> Option<Benign> {
        benign(drop, Icmpv6Frees::AsItFared)
    }

    #[test]
    fn a_request_that_icmpv6_frees_is_a_loss_only_where_its_freeing_says_so() {
        let freed = drop(Echo::Request, "NOT_SPECIFIED", "icmpv6_rcv", Some("eth0"));
        let old = Icmpv6Frees::Alike;
        assert_eq!(benign(&freed, old), Some(Benign::DoneByIcmpv6));
        assert_eq!(judged(&freed), None);
        assert_eq!(benign(&drop(Echo::Request, "ICMP_CSUM", "icmpv6_rcv", Some("eth0")), old), None);
    }

    fn drop(leg: Echo, reason: &str, function: &str, interface: Option<&str>) -> Drop {
        Drop {
            time_ns: 1,
            probe: Some(0),
            leg,
            id: 1,
            seq: 1,
            reason: reason.to_owned(),
            function: function.to_owned(),
            stack: Vec::new(),
            interface: interface.map(str::to_owned),
            source: Ipv4Addr::LOCALHOST.into(),
            destination: Ipv4Addr::LOCALHOST.into(),
            frame: crate::model::trace::FrameFacts::default(),
        }
    }

    #[test]
    fn a_reply_without_a_ping_socket_is_no_loss_but_a_request_without_a_socket_is() {
        for function in ["ping_rcv", "icmp_rcv", "icmp_rcv.part.0", "icmpv6_rcv"] {
            assert_eq!(judged(&drop(Echo::Reply, "NO_SOCKET", function, Some("eth0"))), Some(Benign::NoPingSocket));
            assert_eq!(judged(&drop(Echo::Request, "NO_SOCKET", function, Some("eth0"))), None);
        }
        assert_eq!(judged(&drop(Echo::Reply, "ICMP_CSUM", "icmp_rcv", Some("eth0"))), None);
        assert_eq!(judged(&drop(Echo::Reply, "SOCKET_RCVBUFF", "ping_rcv", Some("eth0"))), None);
    }

    #[test]
    fn a_kernel_without_reasons_accuses_nobody_where_packets_that_fared_well_are_freed_alike() {
        let told = |leg, function| benign(&drop(leg, NOT_GIVEN, function, None), Icmpv6Frees::Alike);
        assert_eq!(told(Echo::Reply, "icmp_rcv"), Some(Benign::NoPingSocket));
        assert_eq!(told(Echo::Request, "icmpv6_rcv"), Some(Benign::DoneByIcmpv6));
        assert_eq!(told(Echo::Reply, "skb_queue_purge"), Some(Benign::SocketClosed));
        assert_eq!([told(Echo::Request, "icmp_rcv"), told(Echo::Request, "nf_hook_slow")], [None, None]);
    }

    #[test]
    fn what_a_closed_socket_held_was_delivered_and_what_a_neighbour_entry_held_was_not() {
        assert_eq!(judged(&drop(Echo::Reply, "QUEUE_PURGE", "inet_sock_destruct", None)), Some(Benign::SocketClosed));
        assert_eq!(judged(&drop(Echo::Reply, "NOT_SPECIFIED", "inet_sock_destruct", None)), Some(Benign::SocketClosed));
        assert_eq!(judged(&drop(Echo::Reply, "QUEUE_PURGE", "packet_release", None)), Some(Benign::SocketClosed));
        assert_eq!(judged(&drop(Echo::Request, "QUEUE_PURGE", "neigh_destroy", Some("eth0"))), None);
    }

    #[test]
    fn copies_are_no_loss() {
        assert_eq!(judged(&drop(Echo::Reply, "PACKET_SOCK_ERROR", "tpacket_rcv", None)), Some(Benign::Capture));
        assert_eq!(judged(&drop(Echo::Request, "SOCKET_FILTER", "raw_rcv", None)), Some(Benign::RawCopy));
        assert_eq!(judged(&drop(Echo::Reply, "SOCKET_FILTER", "raw_rcv", None)), None);
    }

    #[test]
    fn a_firewalls_drop_is_one() {
        assert_eq!(judged(&drop(Echo::Request, "NETFILTER_DROP", "nft_do_chain", None)), None);
        assert_eq!(judged(&drop(Echo::Request, "NOT_SPECIFIED", "ip_error", Some("eth0"))), None);
    }
}
