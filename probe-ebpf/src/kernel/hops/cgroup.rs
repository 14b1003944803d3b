//! cgroup: about to leave the IP layer for a device, or to be queued to a socket.
//!
//! These programs see packets of every network namespace; a probe is recognised by its mark. Egress sees what leaves any
//! socket, including the one through which the kernel's ICMP replies. Ingress runs when a packet is put into a socket's
//! queue (`sk_filter_trim_cap`): once for each raw socket that takes it, and once for its ping socket, in IPv4 and IPv6.
//! It does not run for requests that the kernel's ICMP answers by itself, so they do not show up at `socket_in`,
//! unless some raw socket listens on that host.

use aya_ebpf::programs::SkBuffContext;
use probe_ebpf::{
    Hop, Skip,
    contract::journey::may_be_probe,
    packet::{LinkLayer, parse_where},
};

use crate::kernel::{
    config::{config, id, reads},
    follow, journey,
    reader::{TcPacket, WholePacket},
};

/// Handles a packet at cgroup egress.
#[inline(always)]
pub(crate) fn see_out(context: &SkBuffContext) -> Result<(), Skip> {
    see(context, Hop::CgroupOut)
}

/// Handles a packet at cgroup ingress.
#[inline(always)]
pub(crate) fn see_in(context: &SkBuffContext) -> Result<(), Skip> {
    see(context, Hop::SocketIn)
}

/// Notes a probe. The packet starts with its network header, whatever socket it is for (`__cgroup_bpf_run_filter_skb`). It
/// is copied out: the verifier does not follow a first check that reads only the very first byte.
#[inline(always)]
fn see(context: &SkBuffContext, hop: Hop) -> Result<(), Skip> {
    let packet = TcPacket(context.skb.skb);
    if !follow::is_on() && !may_be_probe(&WholePacket(&packet), config!(nonce), id()) {
        return Err(Skip::NotEcho);
    }
    let echo = parse_where(&WholePacket(&packet), LinkLayer::RawIp, reads)?;
    journey::note_packet(hop, &packet, &echo);
    Ok(())
}
