//! The only writer of neighbour events: packets of ARP and neighbour discovery, where they pass and where they are freed.

use aya_ebpf::programs::BtfTracePointContext;
use probe_ebpf::{NeighbourEvent, NeighbourMessage, contract::neighbour::FREED};

use super::{
    config::config,
    event_site::{self, Freed, NO_WAKEUP},
    maps::NEIGHBOURS,
    skb::SkbSite,
};

/// Reports a packet that passes a device, in a namespace that is watched. What the ring has no room for is not
/// reported: the run does not depend on it.
#[inline(always)]
pub(crate) fn passed(hop: u8, site: SkbSite, message: NeighbourMessage) {
    write((hop, 0), site, message, None);
}

/// Reports a packet that was freed, with this many layers of tunnels around it.
#[inline(always)]
pub(crate) fn freed(
    context: &BtfTracePointContext,
    site: SkbSite,
    (message, layers): (NeighbourMessage, u8),
    freed: Freed,
) {
    write((FREED, layers), site, message, Some((context, freed)));
}

#[inline(always)]
fn write(
    (hop, layers): (u8, u8),
    site: SkbSite,
    message: NeighbourMessage,
    freed: Option<(&BtfTracePointContext, Freed)>,
) {
    let looked_at = site.netns == config!(netns) || (config!(everywhere) != 0 && site.netns != 0);
    if !looked_at {
        return;
    }
    let Some(mut entry) = NEIGHBOURS.reserve::<NeighbourEvent>(0) else { return };
    let event = entry.as_mut_ptr();
    // SAFETY: the ring reserved space for one event, of which every field is written.
    unsafe {
        (*event).message = message;
        (*event).hop = hop;
        (*event).layers = layers;
        (*event).reserved = [0; 6];
        event_site::write(&raw mut (*event).site, site, freed);
    }
    entry.submit(NO_WAKEUP);
}
