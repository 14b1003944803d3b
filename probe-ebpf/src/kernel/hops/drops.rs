//! The two tracepoints at which the kernel frees packets: the drops, and the ends that are none.

use aya_ebpf::programs::BtfTracePointContext;
use probe_ebpf::{Echo, Hop, Skip};

use crate::kernel::{
    config::config,
    drops::{self, Freed, told},
    journey,
    skb::{Skb, SkbSite},
};

/// `kfree_skb(skb, location, reason)`: a packet is freed that was not delivered.
#[inline(always)]
pub(crate) fn dropped(context: &BtfTracePointContext) -> Result<(), Skip> {
    // SAFETY: this tracepoint's first argument is a struct sk_buff *.
    let skb = unsafe { Skb::of(context.arg(0)) };
    let Some(site) = found(skb) else { return Ok(()) };
    let here = site.netns == config!(netns);
    let location = context.arg(1);
    let reason = if told!(reason_told) == 0 { 0 } else { context.arg(2) };
    // Of other pings a busy host frees several copies a packet: they would fill the ring, and convict nobody.
    let seen = skb.probe(skb.start())?;
    let done = match seen.packet.kind.echo {
        // ICMPv6 ends so a request that it is not to answer, or can't; ICMP consumes it.
        Echo::Request => reason == told!(not_specified),
        // A reply for which there is no ping socket ends so, after raw sockets were given their copies: no loss.
        Echo::Reply => reason == told!(no_socket),
    };
    if here && done && drops::in_icmp(location) {
        journey::note(Hop::IcmpIn, &seen, site.ifindex);
    }
    drops::tell(context, site, &seen, Freed { location, reason })
}

/// `consume_skb(skb, location)`: a packet is freed that has done its work. Only the ends inside the kernel's ICMP are
/// noted, and those at a ping socket, from which a process has read the packet. Before Linux 6.3 there is no location: then
/// the stack tells, which is walked for probes of this run only.
#[inline(always)]
pub(crate) fn consumed(context: &BtfTracePointContext) -> Result<(), Skip> {
    // SAFETY: this tracepoint's first argument is a struct sk_buff *.
    let skb = unsafe { Skb::of(context.arg(0)) };
    let Some(SkbSite { ifindex, .. }) = found(skb).filter(|site| site.netns == config!(netns)) else { return Ok(()) };
    let by_stack = told!(location_told) == 0;
    // The kernel takes the device off a packet that it queues to a socket.
    let read = ifindex == 0 && skb.is_datagram_sockets();
    if !read && !by_stack && !drops::in_icmp(context.arg(1)) {
        return Ok(());
    }
    let seen = skb.probe(skb.start())?;
    if !read && by_stack {
        // Without a ping socket a reply is told as a drop; and with one, ICMP consumes it before anybody has read it.
        let asks = seen.probe.is_some() && seen.packet.kind.echo == Echo::Request;
        if !asks || !drops::freed_by_icmp(context) {
            return Ok(());
        }
    }
    if !read || seen.packet.kind.echo == Echo::Reply {
        journey::note(Hop::IcmpIn, &seen, ifindex);
    }
    Ok(())
}

/// Where it is, if it can be an echo packet, and is in the watched network namespace, or in any where that is asked for:
/// these tracepoints see all of them.
#[inline(always)]
fn found(skb: Skb) -> Option<SkbSite> {
    if !skb.can_be_ip() {
        return None;
    }
    let watched = |site: &SkbSite| site.netns == config!(netns) || (config!(everywhere) != 0 && site.netns != 0);
    Some(skb.site()).filter(watched)
}
