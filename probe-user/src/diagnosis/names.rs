//! Where a drop event lies on the path, by the names that the running kernel gave: reason, function, callers.
//!
//! Measured on Linux 6.1, 6.12 and 6.18, and read in `include/net/dropreason-core.h`. A name that is not listed here
//! gives no place: the counters then say where, and the name is printed as it is.

use super::places::DropPoint;
use crate::model::trace::{
    Drop,
    benign::{NO_SOCKET, NOT_GIVEN, is_consumed},
    plain_function,
};
use probe_ebpf::Echo;

/// What a drop event says of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// At one of these, the likeliest first.
    At(&'static [DropPoint]),
    /// Nothing that is known here.
    Unknown,
}

use DropPoint::{
    Bridge, Call, CgroupIn, CgroupOut, Decapsulation, DriverIn, DriverOut, Encapsulation, FragmentOut, Icmp, IpHeader,
    Neighbour, NfEgress, NfForward, NfIngress, NfInput, NfOutput, NfPostrouting, NfPrerouting, Qdisc, Reassembly,
    RouteBack, RouteIn, SocketBuffer, SocketFilter, TcIn, TcOut, Xdp,
};

/// Drop reasons that leave no doubt, whatever function frees the packet. A name that ends in `*` is a prefix.
pub const REASONS: &[(&str, &[DropPoint])] = &[
    ("IP_RPFILTER", &[RouteIn]),
    ("IP_INNOROUTES", &[RouteIn]),
    ("IP_INADDRERRORS", &[RouteIn]),
    ("IP_OUTNOROUTES", &[Call, RouteBack]),
    ("IP_LOCAL_SOURCE", &[RouteIn]),
    ("IP_INVALID_SOURCE", &[RouteIn]),
    ("IP_LOCALNET", &[RouteIn]),
    ("IP_INVALID_DEST", &[RouteIn]),
    ("NEIGH_*", &[Neighbour]),
    ("QDISC_*", &[Qdisc]),
    ("FQ_*", &[Qdisc]),
    ("TC_INGRESS", &[TcIn]),
    ("TC_EGRESS", &[TcOut]),
    ("TC_*", &[TcIn, TcOut]),
    ("XDP", &[Xdp]),
    ("BPF_CGROUP_EGRESS", &[CgroupOut]),
    ("ICMP_CSUM", &[Icmp]),
    ("OTHERHOST", &[IpHeader]),
    ("IP_CSUM", &[IpHeader]),
    ("IP_INHDR", &[IpHeader, RouteIn]),
    ("IP_NOPROTO", &[Icmp]),
    ("IPV6DISABLED", &[IpHeader]),
    ("IPV6_BAD_EXTHDR", &[IpHeader]),
    ("PKT_TOO_SMALL", &[IpHeader, Icmp]),
    ("PKT_TOO_BIG", &[FragmentOut, RouteIn]),
    ("FRAG_*", &[Reassembly, NfPrerouting]),
    ("DUP_FRAG", &[Reassembly, NfPrerouting]),
    ("SOCKET_FILTER", &[SocketFilter, CgroupIn]),
    ("SOCKET_RCVBUFF", &[SocketBuffer]),
    ("SOCKET_BACKLOG", &[SocketBuffer]),
    ("PROTO_MEM", &[SocketBuffer]),
    ("CPU_BACKLOG", &[DriverIn]),
    ("FULL_RING", &[DriverOut]),
    ("DEV_READY", &[DriverOut]),
    ("VXLAN_VNI_NOT_FOUND", &[Decapsulation]),
    ("VXLAN_INVALID_HDR", &[Decapsulation]),
    ("VXLAN_NO_REMOTE", &[Encapsulation]),
    ("LOCAL_MAC", &[Decapsulation]),
    ("MAC_INVALID_SOURCE", &[Encapsulation, Decapsulation]),
    ("TUNNEL_*", &[Encapsulation, Decapsulation]),
    ("UDP_CSUM", &[Decapsulation]),
    ("DEV_HDR", &[DriverOut]),
];

/// For `NETFILTER_DROP`: the caller of the hook, innermost frame first, in both IP versions.
pub const HOOKS: &[(&str, DropPoint)] = &[
    ("nft_do_chain_netdev", NfIngress),
    ("ip_rcv", NfPrerouting),
    ("ipv6_rcv", NfPrerouting),
    ("ip_sublist_rcv", NfPrerouting),
    ("ipv6_list_rcv", NfPrerouting),
    ("ip_local_deliver", NfInput),
    ("ip6_input", NfInput),
    ("ip_forward", NfForward),
    ("ip6_forward", NfForward),
    ("ip_output", NfPostrouting),
    ("ip_mc_output", NfPostrouting),
    ("ip6_output", NfPostrouting),
    ("__ip_local_out", NfOutput),
    ("__ip6_local_out", NfOutput),
    ("raw_sendmsg", NfOutput),
    ("rawv6_sendmsg", NfOutput),
    ("ip6_xmit", NfOutput),
    ("ndisc_send_skb", NfOutput),
    // iptables called by a bridge comes first, and then the bridge's own hooks.
    ("br_nf_pre_routing", NfPrerouting),
    ("br_nf_forward_ip", NfForward),
    ("br_nf_post_routing", NfPostrouting),
    ("br_handle_frame", Bridge),
    ("br_handle_frame_finish", Bridge),
    ("br_pass_frame_up", Bridge),
    ("__br_forward", Bridge),
    ("br_forward_finish", Bridge),
    ("__netif_receive_skb_core", NfIngress),
    ("__dev_queue_xmit", NfEgress),
];

/// Functions that show the place when the reason does not. A name that ends in `*` is a prefix.
pub const FUNCTIONS: &[(&str, &[DropPoint])] = &[
    ("veth_xdp_rcv*", &[Xdp]),
    ("do_xdp_generic", &[Xdp]),
    ("bpf_prog_run_generic_xdp", &[Xdp]),
    ("netif_receive_generic_xdp", &[Xdp]),
    ("icmp_rcv", &[Icmp]),
    ("icmpv6_rcv", &[Icmp]),
    ("icmp_echo", &[Icmp]),
    ("ip_rcv_core", &[IpHeader]),
    ("ip6_rcv_core", &[IpHeader]),
    ("ip_rcv_finish_core", &[RouteIn]),
    ("ip_error", &[RouteIn]),
    ("ip6_pkt_drop", &[RouteIn]),
    ("ip6_pkt_discard*", &[RouteIn]),
    ("ip6_pkt_prohibit*", &[RouteIn]),
    ("ip_forward", &[RouteIn]),
    ("ip6_forward", &[RouteIn]),
    ("dst_discard*", &[RouteIn, FragmentOut, CgroupOut]),
    ("ip_frag_*", &[Reassembly, NfPrerouting]),
    ("ip_defrag", &[Reassembly, NfPrerouting]),
    ("ipv6_frag_rcv", &[Reassembly]),
    ("inet_frag_*", &[Reassembly, NfPrerouting]),
    ("ip_finish_output", &[CgroupOut, FragmentOut]),
    ("ip6_finish_output", &[CgroupOut, FragmentOut]),
    ("ip_fragment*", &[FragmentOut]),
    ("ip6_fragment", &[FragmentOut]),
    ("neigh_*", &[Neighbour]),
    ("__neigh_*", &[Neighbour]),
    ("ping_rcv", &[SocketBuffer]),
    ("raw_rcv*", &[SocketBuffer]),
    ("rawv6_rcv*", &[SocketBuffer]),
    ("sock_queue_rcv_skb*", &[SocketBuffer]),
    ("noop_enqueue", &[DriverOut]),
    ("dev_hard_start_xmit", &[DriverOut]),
    ("validate_xmit_skb*", &[DriverOut]),
    ("br_*", &[Bridge]),
    ("vxlan_rcv", &[Decapsulation]),
    ("vxlan_*", &[Encapsulation, Decapsulation]),
    ("geneve_udp_encap_recv", &[Decapsulation]),
    ("geneve_*", &[Encapsulation, Decapsulation]),
    ("gre_*", &[Encapsulation, Decapsulation]),
    ("ipgre_*", &[Encapsulation]),
    ("ipip*", &[Encapsulation, Decapsulation]),
    ("sit_*", &[Encapsulation]),
    ("tunnel4_rcv", &[Decapsulation]),
    ("tunnel6*", &[Decapsulation]),
    ("ip_tunnel_xmit", &[Encapsulation]),
    ("ip_tunnel_rcv", &[Decapsulation]),
    ("udp_queue_rcv_one_skb", &[Decapsulation]),
    ("udpv6_queue_rcv_one_skb", &[Decapsulation]),
    ("__udp4_lib_rcv", &[Decapsulation]),
    ("__udp6_lib_rcv", &[Decapsulation]),
    ("veth_xmit", &[DriverOut]),
    ("sch_direct_xmit", &[DriverOut]),
    ("kfree_skb_list_reason", &[Qdisc]),
    // A qdisc that is removed throws away what waits in it.
    ("__rtnl_unlock", &[Qdisc]),
    ("__dev_queue_xmit", &[Qdisc, DriverOut]),
    ("__netif_receive_skb_core*", &[TcIn]),
    ("enqueue_to_backlog", &[DriverIn]),
];

/// Functions through which netfilter frees packets: `ipt_do_table` and its kin return their verdict to `nf_hook_slow`.
const NETFILTER: [&str; 9] = [
    "nft_do_chain",
    "nf_hook_slow",
    "ipt_do_table",
    "ip6t_do_table",
    "nft_reject_*",
    "nf_queue",
    "nf_hook_slow_list",
    "nf_reject_*",
    "nf_conntrack_*",
];

/// Functions by which the device of a tunnel sends: what they free never was in a packet of the tunnel, whatever the reason.
const TUNNEL_SENDS: [&str; 9] = [
    "vxlan_xmit*",
    "geneve_xmit*",
    "ipgre_xmit",
    "gre_tap_xmit",
    "erspan_xmit",
    "ip_tunnel_xmit",
    "ip_md_tunnel_xmit",
    "ip6_tnl_xmit*",
    "sit_tunnel_xmit*",
];

/// Returns where the kernel freed the packet.
pub fn placed(drop: &Drop) -> Placed {
    let function = plain_function(&drop.function);
    if TUNNEL_SENDS.iter().any(|name| fits(name, function)) {
        return Placed::At(&[Encapsulation]);
    }
    if drop.reason == "NETFILTER_DROP" || NETFILTER.iter().any(|name| fits(name, function)) {
        return hook(drop);
    }
    let by = |table: &'static [(&str, &'static [DropPoint])], name: &str| {
        table.iter().find(|(pattern, _)| fits(pattern, name)).map(|(_, places)| Placed::At(places))
    };
    let stacked = || drop.stack.iter().find_map(|frame| by(FUNCTIONS, plain_function(frame)));
    by(REASONS, &drop.reason).or_else(|| by(FUNCTIONS, function)).or_else(stacked).unwrap_or(Placed::Unknown)
}

/// Returns the hook by the first frame that calls one; any hook if the stack does not show one.
fn hook(drop: &Drop) -> Placed {
    let callers = drop.stack.iter().map(|frame| plain_function(frame));
    let place = callers.filter_map(|name| HOOKS.iter().find(|(known, _)| *known == name)).map(|(_, place)| *place);
    match place.into_iter().next() {
        Some(NfIngress) => Placed::At(&[NfIngress, NfEgress]),
        Some(NfPrerouting) => Placed::At(&[NfPrerouting]),
        Some(NfInput) => Placed::At(&[NfInput]),
        Some(NfForward) => Placed::At(&[NfForward]),
        Some(NfPostrouting) => Placed::At(&[NfPostrouting]),
        Some(NfOutput) => Placed::At(&[NfOutput]),
        Some(NfEgress) => Placed::At(&[NfEgress]),
        Some(Bridge) => Placed::At(&[Bridge]),
        _ => Placed::At(&[NfInput, NfPrerouting, NfIngress, NfForward, NfOutput, NfPostrouting, NfEgress]),
    }
}

/// Reports whether the device of a tunnel freed the packet.
pub fn is_of_tunnel(drop: &Drop) -> bool {
    let of_tunnel = [Encapsulation, Decapsulation];
    matches!(placed(drop), Placed::At(places) if places.iter().any(|place| of_tunnel.contains(place)))
}

/// Reports whether the event shows that the kernel's ICMP had the packet.
pub fn shows_icmp(drop: &Drop) -> bool {
    let function = plain_function(&drop.function);
    let icmp = matches!(function, "icmp_rcv" | "icmpv6_rcv" | "ping_rcv");
    icmp && (is_consumed(drop) || (matches!(drop.reason.as_str(), NO_SOCKET | NOT_GIVEN) && drop.leg == Echo::Reply))
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::trace::benign::is_no_loss;

    fn drop(reason: &str, function: &str, stack: &[&str]) -> Drop {
        Drop {
            time_ns: 1,
            probe: Some(0),
            leg: Echo::Request,
            id: 1,
            seq: 1,
            reason: reason.into(),
            function: function.into(),
            stack: stack.iter().map(|&frame| frame.to_owned()).collect(),
            interface: None,
            source: "10.0.0.1".parse().expect("an address"),
            destination: "10.0.0.2".parse().expect("an address"),
            frame: crate::model::trace::FrameFacts::default(),
        }
    }

    fn first(reason: &str, function: &str, stack: &[&str]) -> Option<DropPoint> {
        match placed(&drop(reason, function, stack)) {
            Placed::At(places) => places.first().copied(),
            Placed::Unknown => None,
        }
    }

    #[test]
    fn a_netfilter_drop_is_placed_by_the_caller_of_its_hook() {
        let nft = |callers: &[&str]| first("NETFILTER_DROP", "nft_do_chain+0x3e8", callers);
        assert_eq!(nft(&["nft_do_chain_ipv4", "nf_hook_slow", "ip_local_deliver"]), Some(NfInput));
        assert_eq!(nft(&["nft_do_chain_inet", "nf_hook_slow", "ip6_input"]), Some(NfInput));
        assert_eq!(nft(&["nf_hook_slow", "ip_rcv", "__netif_receive_skb_one_core"]), Some(NfPrerouting));
        assert_eq!(nft(&["nf_hook_slow", "__ip_local_out", "ip_send_skb"]), Some(NfOutput));
        assert_eq!(nft(&["nf_hook_slow", "ip_output", "ip_send_skb"]), Some(NfPostrouting));
        assert_eq!(nft(&["nft_do_chain_netdev", "nf_hook_slow", "__dev_queue_xmit"]), Some(NfIngress));
        let core = "__netif_receive_skb_core";
        assert_eq!(nft(&["nf_hook_slow", "br_pass_frame_up", "br_handle_frame_finish", core]), Some(Bridge));
        assert_eq!(nft(&["nf_hook_slow", "br_nf_pre_routing", "br_handle_frame", core]), Some(NfPrerouting));
    }

    #[test]
    fn names_survive_what_a_compiler_adds() {
        assert_eq!(first("NOT_SPECIFIED", "ip_rcv_finish_core.constprop.0+0x10", &[]), Some(RouteIn));
        assert_eq!(first("NOT_SPECIFIED", "veth_xdp_rcv_skb.isra.0", &[]), Some(Xdp));
    }

    #[test]
    fn an_unknown_name_places_nothing() {
        assert_eq!(first("SOMETHING_NEW", "a_new_function", &[]), None);
    }

    #[test]
    fn what_a_healthy_ping_leaves_behind_is_no_loss() {
        let reply = |reason, function| Drop { leg: Echo::Reply, ..drop(reason, function, &[]) };
        assert!(is_no_loss(&reply("NO_SOCKET", "ping_rcv")) && shows_icmp(&reply("NO_SOCKET", "ping_rcv")));
        assert!(is_no_loss(&reply("NOT_SPECIFIED", "inet_sock_destruct")));
        assert!(is_no_loss(&reply("QUEUE_PURGE", "inet_sock_destruct")));
        assert!(is_no_loss(&drop("CONSUMED", "icmp_rcv", &[])));
        assert!(!is_no_loss(&drop("NETFILTER_DROP", "nft_do_chain", &[])));
    }
}
