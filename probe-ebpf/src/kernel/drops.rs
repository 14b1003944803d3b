//! The only writer of drop events: which packet was freed, where, and why.

use aya_ebpf::{EbpfContext, helpers::generated::bpf_get_stack, programs::BtfTracePointContext};
use probe_ebpf::{DropEvent, Skip};

use super::{
    drop_config::drop_config,
    event_site::{self, Freed, NO_WAKEUP},
    maps::DROPS,
    skb::{Skb, SkbEcho, SkbSite},
    skip,
};

/// Reports whether an address is in the code of the kernel's ICMP.
#[inline(always)]
pub(crate) fn in_icmp(location: u64) -> bool {
    let within = |first: u64, end: u64| location >= first && location < end;
    within(drop_config!(icmp_code[0][0]), drop_config!(icmp_code[0][1]))
        || within(drop_config!(icmp_code[1][0]), drop_config!(icmp_code[1][1]))
        || within(drop_config!(icmp_code[2][0]), drop_config!(icmp_code[2][1]))
        || within(drop_config!(icmp_code[3][0]), drop_config!(icmp_code[3][1]))
}

/// Reports a packet that was freed to user space, if it is a probe.
#[inline(always)]
pub(crate) fn report(
    context: &BtfTracePointContext,
    skb: Skb,
    site: SkbSite,
    seen: &SkbEcho,
    freed: Freed,
) -> Result<(), Skip> {
    let Some(probe) = seen.probe else { return Ok(()) };
    let (source, destination) = seen.ends().ok_or(Skip::Truncated)?;
    let Some(mut entry) = DROPS.reserve::<DropEvent>(0) else {
        skip::count(Skip::DropsFull);
        return Ok(());
    };
    let event = entry.as_mut_ptr();
    let (mark, mac) = (skb.mark(), skb.destination_mac());
    // SAFETY: the ring reserved space for one event, of which every field is written.
    unsafe {
        (*event).source = source;
        (*event).destination = destination;
        (*event).mark = mark;
        (*event).id = seen.packet.id;
        (*event).seq = seen.packet.seq;
        (*event).probe = probe as u16;
        (*event).kind = seen.packet.kind.index() as u8;
        (*event).ttl = seen.packet.ttl;
        (*event).mac = mac;
        (*event).layers = seen.layers;
        (*event).reserved = [0; 5];
        event_site::write(&raw mut (*event).site, site, Some((context, freed)));
    }
    entry.submit(NO_WAKEUP);
    Ok(())
}

/// The frames between a tracepoint and the program on it, plus the one that freed the packet.
const NEAR: usize = 10;

/// Reports whether the kernel's ICMP freed the packet, by the stack: for kernels whose tracepoint does not say.
#[inline(always)]
pub(crate) fn freed_by_icmp(context: &BtfTracePointContext) -> bool {
    let mut frames = [0_u64; NEAR];
    // SAFETY: the context is the kernel's; `frames` has room for the size that is passed.
    let bytes = unsafe { bpf_get_stack(context.as_ptr(), frames.as_mut_ptr().cast(), size_of_val(&frames) as u32, 0) };
    bytes > 0 && frames.into_iter().any(in_icmp)
}
