//! The only writer of crossings: which probe passed which device other than the watched one, or any device inside
//! another packet.

use probe_ebpf::contract::crossing::{MAX_SITES, crossing_index, site_word};

use super::{
    atomic, journey,
    maps::{CROSSINGS, SITE_COUNT, SITE_SLOTS, SITES},
    skb::{SkbEcho, SkbSite},
};

/// Notes that the packet passed the hop with this number of [`probe_ebpf::contract::crossing::CROSSING_HOPS`] at `site`,
/// if it is a probe of this run.
#[inline(always)]
pub(crate) fn note(hop: u32, seen: &SkbEcho, site: SkbSite, detail: i32) -> Option<()> {
    let probe = seen.probe?;
    let slot = slot(site, seen.layers)?;
    let passage = CROSSINGS.get_ptr_mut(crossing_index(slot, hop, seen.packet.kind.echo, probe))?;
    journey::fill(passage, seen, site.ifindex)?;
    // SAFETY: the map gave a valid pointer.
    unsafe { (*passage).detail = detail };
    Some(())
}

/// Returns the slot of a device, which it keeps for the run; `None` if there were too many others.
#[inline(always)]
fn slot(site: SkbSite, layers: u8) -> Option<u32> {
    /// `BPF_NOEXIST` of `include/uapi/linux/bpf.h`.
    const UNLESS_THERE: u64 = 1;
    let word = site_word(site.netns, site.ifindex, layers);
    if let Some(slot) = SITE_SLOTS.get_ptr(word) {
        // SAFETY: the map gave a valid pointer, and nobody takes the entry out.
        return Some(unsafe { *slot });
    }
    let count = SITE_COUNT.get_ptr_mut(0)?;
    // SAFETY: the map gave a valid pointer.
    let taken = unsafe { atomic::take_number(count) }?;
    if taken >= u64::from(MAX_SITES) {
        return None;
    }
    let slot = taken as u32;
    if SITE_SLOTS.insert(word, slot, UNLESS_THERE).is_err() {
        // Another processor met the same device at the same time; the slot that was taken for it stays empty.
        let slot = SITE_SLOTS.get_ptr(word)?;
        // SAFETY: as above.
        return Some(unsafe { *slot });
    }
    let name = SITES.get_ptr_mut(slot)?;
    // SAFETY: the map gave a valid pointer, and the slot is this processor's to name.
    unsafe { name.write_volatile(word) };
    Some(slot)
}
