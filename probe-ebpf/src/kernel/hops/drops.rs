//! The two tracepoints at which the kernel frees packets: the drops, and the ends that are not drops.

use aya_ebpf::programs::BtfTracePointContext;
use probe_ebpf::{
    Echo, Family, Hop, Skip,
    contract::neighbour::{arp, discovery},
};

use crate::kernel::{
    config::config,
    drop_config::drop_config,
    drops,
    event_site::Freed,
    journey, neighbour,
    skb::{Skb, SkbPacket, SkbSite},
};

/// Handles `kfree_skb(skb, location, reason)`: a packet is freed without being delivered.
#[inline(always)]
pub(crate) fn dropped(context: &BtfTracePointContext) -> Result<(), Skip> {
    // SAFETY: this tracepoint's first argument is a struct sk_buff *.
    let skb = unsafe { Skb::of(context.arg(0)) };
    let freed = || {
        let reason = if drop_config!(reason_given) == 0 { 0 } else { context.arg(2) };
        Freed { location: context.arg(1), reason }
    };
    let Some(site) = found(skb) else {
        if skb.is_arp()
            && let Some(message) = skb.arp(skb.start())
        {
            neighbour::freed(context, skb.site(), (message, 0), freed());
        }
        return Ok(());
    };
    let here = site.netns == config!(netns);
    let Freed { location, reason } = freed();
    // A busy host frees several copies of each packet of other pings: they would fill the ring, and prove nothing.
    let seen = match skb.packet(skb.start())? {
        SkbPacket::Echo(seen) => seen,
        SkbPacket::Discovery(bytes) => {
            if let Some(message) = discovery(&bytes) {
                neighbour::freed(context, site, (message, 0), Freed { location, reason });
            }
            return Ok(());
        }
        SkbPacket::Carried(bytes, layers) => {
            if let Some(message) = arp(&bytes).or_else(|| discovery(&bytes)) {
                neighbour::freed(context, site, (message, layers), Freed { location, reason });
            }
            return Ok(());
        }
    };
    let unsaid = drop_config!(reason_given) == 0;
    let done = match seen.packet.kind.echo {
        // ICMPv6 frees a request this way if it must not or can't reply; ICMP consumes it.
        Echo::Request if unsaid => seen.packet.kind.family == Family::V6,
        Echo::Request => reason == drop_config!(not_specified),
        // A reply without a ping socket ends this way after raw sockets got their copies: no loss.
        Echo::Reply => unsaid || reason == drop_config!(no_socket),
    };
    if here && done && seen.layers == 0 && drops::in_icmp(location) {
        journey::note(Hop::IcmpIn, &seen, site.ifindex);
    }
    drops::report(context, skb, site, &seen, Freed { location, reason })
}

/// Handles `consume_skb(skb, location)`: a packet is freed after it was used. Only the ends inside the kernel's ICMP are
/// noted, and those at a ping socket, from which a process has read the packet. Before Linux 6.3 there is no location: then
/// the stack is searched, only for probes of this run.
#[inline(always)]
pub(crate) fn consumed(context: &BtfTracePointContext) -> Result<(), Skip> {
    // SAFETY: this tracepoint's first argument is a struct sk_buff *.
    let skb = unsafe { Skb::of(context.arg(0)) };
    let Some(SkbSite { ifindex, .. }) = found(skb).filter(|site| site.netns == config!(netns)) else { return Ok(()) };
    let by_stack = drop_config!(location_given) == 0;
    // The kernel clears the device of a packet that it queues to a socket.
    let read = ifindex == 0 && skb.is_datagram_sockets();
    if !read && !by_stack && !drops::in_icmp(context.arg(1)) {
        return Ok(());
    }
    let seen = skb.probe(skb.start())?;
    if !read && by_stack {
        // Without a ping socket a reply is reported as a drop; with one, ICMP consumes it before anybody has read it.
        let asks = seen.probe.is_some() && seen.packet.kind.echo == Echo::Request;
        if !asks || !drops::freed_by_icmp(context) {
            return Ok(());
        }
    }
    if seen.layers == 0 && (!read || seen.packet.kind.echo == Echo::Reply) {
        journey::note(Hop::IcmpIn, &seen, ifindex);
    }
    Ok(())
}

/// Returns where a packet is, if it can be an echo packet in the watched network namespace, or in any namespace if that
/// is asked for: these tracepoints see packets of all namespaces.
#[inline(always)]
fn found(skb: Skb) -> Option<SkbSite> {
    if !skb.can_be_ip() {
        return None;
    }
    let watched = |site: &SkbSite| site.netns == config!(netns) || (config!(everywhere) != 0 && site.netns != 0);
    Some(skb.site()).filter(watched)
}
