//! The only writer of the hooks: which probe passed which netfilter hook of another network namespace, or inside another packet.

use probe_ebpf::contract::hook::{MAX_HOOKED, hook_index, hook_key};

use super::{
    journey,
    maps::{HOOK_SLOTS, HOOKS},
    skb::SkbEcho,
};

/// Notes that the packet passed the hop with this number of [`probe_ebpf::contract::hook::HOOK_HOPS`] in the namespace
/// with the inode `netns`, if it is a probe of this run and the user half has given that namespace a slot.
#[inline(always)]
pub(crate) fn note(hop: u32, seen: &SkbEcho, netns: u32, ifindex: u32) -> Option<()> {
    let probe = seen.probe?;
    let slot = HOOK_SLOTS.get_ptr(hook_key(netns, seen.layers))?;
    // SAFETY: the map gave a valid pointer, and nobody takes the entry out.
    let slot = unsafe { *slot };
    if slot >= MAX_HOOKED {
        return None;
    }
    let passage = HOOKS.get_ptr_mut(hook_index(slot, hop, seen.packet.kind.echo, probe))?;
    journey::fill(passage, seen, ifindex)
}
