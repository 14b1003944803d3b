//! The only writer of the head that drop events and neighbour events share.

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_ktime_get_ns, generated::bpf_get_stack},
    programs::BtfTracePointContext,
};
use probe_ebpf::contract::site::{EventSite, STACK_FRAMES};

use super::{drop_config::drop_config, skb::SkbSite};

/// `BPF_RB_NO_WAKEUP`: the reader polls.
pub(crate) const NO_WAKEUP: u64 = 1;

/// Where and why a packet was freed.
#[derive(Clone, Copy)]
pub(crate) struct Freed {
    /// The address that the tracepoint passes.
    pub(crate) location: u64,
    /// `enum skb_drop_reason`.
    pub(crate) reason: u32,
}

/// Writes every field of `event`; `freed` says where and why the packet was freed, if it was, and by which tracepoint that is
/// known.
///
/// # Safety
///
/// `event` must be valid for writes.
#[inline(always)]
pub(crate) unsafe fn write(event: *mut EventSite, at: SkbSite, freed: Option<(&BtfTracePointContext, Freed)>) {
    // SAFETY: the caller vouches for `event`; the clock is only read.
    unsafe {
        (*event).time_ns = bpf_ktime_get_ns();
        (*event).location = freed.map_or(0, |(_, freed)| freed.location);
        (*event).reason = freed.map_or(0, |(_, freed)| freed.reason);
        (*event).netns = at.netns;
        (*event).ifindex = at.ifindex;
        (*event).stack = [0; STACK_FRAMES];
        (*event).frames = match freed {
            Some((context, freed)) if wants_stack(freed.reason) => stack(context, &raw mut (*event).stack),
            _ => 0,
        };
    }
}

/// Reports whether an event needs the stack, which costs a microsecond: only these two reasons do not say where the packet
/// died, nor does a kernel that gives none.
#[inline(always)]
fn wants_stack(reason: u32) -> bool {
    drop_config!(reason_given) == 0 || reason == drop_config!(netfilter_drop) || reason == drop_config!(not_specified)
}

/// Writes the innermost frames of the kernel's stack, and returns how many.
///
/// # Safety
///
/// `frames` must be valid for writes.
#[inline(always)]
unsafe fn stack(context: &BtfTracePointContext, frames: *mut [u64; STACK_FRAMES]) -> u32 {
    // SAFETY: the context is the kernel's, and the caller vouches for `frames`, whose size is passed.
    let bytes = unsafe { bpf_get_stack(context.as_ptr(), frames.cast(), size_of::<[u64; STACK_FRAMES]>() as u32, 0) };
    if bytes < 0 { 0 } else { bytes as u32 / 8 }
}
