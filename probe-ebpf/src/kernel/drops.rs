//! The only writer of drop events: which packet was freed, where, and why.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_ktime_get_ns, generated::bpf_get_stack},
    programs::BtfTracePointContext,
};
use probe_ebpf::{
    DropEvent, Skip,
    contract::drops::{DropConfig, ICMP_RANGES, NO_REASON, STACK_FRAMES},
};

use super::{
    maps::DROPS,
    skb::{Skb, SkbEcho, SkbSite},
    skip,
};

/// In `.rodata`: the verifier knows its fields as constants, and removes what they turn off.
#[unsafe(no_mangle)]
pub(crate) static PROBE_DROPS: DropConfig = DropConfig {
    icmp_code: [[0; 2]; ICMP_RANGES],
    reason_given: 0,
    location_given: 0,
    netfilter_drop: NO_REASON,
    not_specified: NO_REASON,
    no_socket: NO_REASON,
    reserved: 0,
};

/// Reads one field of that global.
macro_rules! drop_config {
    ($($place:tt)+) => {{
        let place = &raw const $crate::kernel::drops::PROBE_DROPS.$($place)+;
        // SAFETY: points into a static; volatile, so that the compiler does not take the value at build time.
        unsafe { core::ptr::read_volatile(place) }
    }};
}
pub(crate) use drop_config;

/// `BPF_RB_NO_WAKEUP`: the reader polls.
const NO_WAKEUP: u64 = 1;

/// Where and why a packet was freed.
#[derive(Clone, Copy)]
pub(crate) struct Freed {
    /// The address that the tracepoint passes.
    pub(crate) location: u64,
    /// `enum skb_drop_reason`.
    pub(crate) reason: u32,
}

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
    let with_stack = wants_stack(freed.reason);
    // SAFETY: the ring reserved space for one event, of which every field is written; the clock is only read.
    unsafe {
        (*event).time_ns = bpf_ktime_get_ns();
        (*event).location = freed.location;
        (*event).reason = freed.reason;
        (*event).netns = site.netns;
        (*event).ifindex = site.ifindex;
        (*event).id = seen.packet.id;
        (*event).seq = seen.packet.seq;
        (*event).probe = probe as u16;
        (*event).kind = seen.packet.kind.index() as u8;
        (*event).ttl = seen.packet.ttl;
        (*event).mark = mark;
        (*event).mac = mac;
        (*event).layers = seen.layers;
        (*event).reserved = [0; 5];
        (*event).source = source;
        (*event).destination = destination;
        (*event).stack = [0; STACK_FRAMES];
        (*event).frames = if with_stack { stack(context, &raw mut (*event).stack) } else { 0 };
    }
    entry.submit(NO_WAKEUP);
    Ok(())
}

/// Reports whether an event needs the stack, which costs a microsecond: only these two reasons do not say where the packet
/// died.
#[inline(always)]
pub(crate) fn wants_stack(reason: u32) -> bool {
    reason == drop_config!(netfilter_drop) || reason == drop_config!(not_specified)
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

/// Writes the innermost frames of the kernel's stack, and returns how many.
///
/// # Safety
///
/// `frames` must be valid for writes.
#[inline(always)]
pub(crate) unsafe fn stack(context: &BtfTracePointContext, frames: *mut [u64; STACK_FRAMES]) -> u32 {
    // SAFETY: the context is the kernel's, and the caller vouches for `frames`, whose size is passed.
    let bytes = unsafe { bpf_get_stack(context.as_ptr(), frames.cast(), size_of::<[u64; STACK_FRAMES]>() as u32, 0) };
    if bytes < 0 { 0 } else { bytes as u32 / 8 }
}
