//! cgroup: about to leave the IP layer for a device, or to be queued to a socket.
//!
//! These programs see packets of every network namespace; a probe is known by its mark. Egress sees what leaves any
//! socket, the one with which the kernel's ICMP replies included. Ingress is asked where a packet is put into a socket's
//! queue (`sk_filter_trim_cap`): once for each raw socket that takes it, and once for its ping socket, in IPv4 and IPv6.
//! Nobody asks for requests that the kernel's ICMP answers by itself, so they are not to be expected at `socket_in`,
//! unless some raw socket listens on that host.

use aya_ebpf::programs::SkBuffContext;
use probe_ebpf::{
    Hop, Skip,
    contract::journey::may_be_probe,
    packet::{LinkLayer, parse_where},
};

use crate::kernel::{
    config::{config, reads},
    journey,
    reader::{TcPacket, WholePacket},
};

/// What cgroup egress sees.
#[inline(always)]
pub(crate) fn see_out(context: &SkBuffContext) -> Result<(), Skip> {
    see(context, Hop::CgroupOut)
}

/// What cgroup ingress sees.
#[inline(always)]
pub(crate) fn see_in(context: &SkBuffContext) -> Result<(), Skip> {
    see(context, Hop::SocketIn)
}

/// The kernel lets the packet start with its network header, whatever socket it is for (`__cgroup_bpf_run_filter_skb`).
/// It is copied out: the verifier does not follow a first check that asks for the very first byte alone.
#[inline(always)]
fn see(context: &SkBuffContext, hop: Hop) -> Result<(), Skip> {
    let packet = TcPacket(context.skb.skb);
    if !may_be_probe(&WholePacket(&packet), config!(nonce)) {
        return Err(Skip::NotEcho);
    }
    let echo = parse_where(&WholePacket(&packet), LinkLayer::RawIp, reads)?;
    journey::note_packet(hop, &packet, &echo);
    Ok(())
}
