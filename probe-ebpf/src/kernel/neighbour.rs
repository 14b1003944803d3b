//! The only writer of neighbour events: packets of ARP and neighbour discovery, where they pass and where they are freed.

use aya_ebpf::{helpers::bpf_ktime_get_ns, programs::BtfTracePointContext};
use probe_ebpf::{
    NeighbourEvent, NeighbourMessage,
    contract::{drops::STACK_FRAMES, neighbour::FREED},
};

use super::{
    config::config,
    drops::{Freed, stack, wants_stack},
    maps::NEIGHBOURS,
    skb::SkbSite,
};

/// `BPF_RB_NO_WAKEUP`: the reader polls.
const NO_WAKEUP: u64 = 1;

/// Tells of a packet that passes a device, in a namespace that is looked at. What the ring has no room for is not told:
/// the run does not rest on it.
#[inline(always)]
pub(crate) fn passed(hop: u8, site: SkbSite, message: NeighbourMessage) {
    write((hop, 0), site, message, Freed { location: 0, reason: 0 }, None);
}

/// Tells of a packet that was freed, with so many layers of tunnels around it.
#[inline(always)]
pub(crate) fn freed(
    context: &BtfTracePointContext,
    site: SkbSite,
    (message, layers): (NeighbourMessage, u8),
    freed: Freed,
) {
    write((FREED, layers), site, message, freed, Some(context));
}

#[inline(always)]
fn write(
    (hop, layers): (u8, u8),
    site: SkbSite,
    message: NeighbourMessage,
    freed: Freed,
    context: Option<&BtfTracePointContext>,
) {
    let looked_at = site.netns == config!(netns) || (config!(everywhere) != 0 && site.netns != 0);
    if !looked_at {
        return;
    }
    let Some(mut entry) = NEIGHBOURS.reserve::<NeighbourEvent>(0) else { return };
    let event = entry.as_mut_ptr();
    // SAFETY: the ring reserved space for one event, of which every field is written; the clock is only read.
    unsafe {
        (*event).time_ns = bpf_ktime_get_ns();
        (*event).location = freed.location;
        (*event).reason = freed.reason;
        (*event).netns = site.netns;
        (*event).ifindex = site.ifindex;
        (*event).message = message;
        (*event).hop = hop;
        (*event).layers = layers;
        (*event).reserved = [0; 6];
        (*event).stack = [0; STACK_FRAMES];
        (*event).frames = match context {
            Some(context) if wants_stack(freed.reason) => stack(context, &raw mut (*event).stack),
            _ => 0,
        };
    }
    entry.submit(NO_WAKEUP);
}
