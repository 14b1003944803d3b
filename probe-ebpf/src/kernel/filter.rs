//! The filter: which rule holds for a packet, and what it did.

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use probe_ebpf::packet::EchoPacket;

use super::{
    maps::{CELLS, DEEDS, RULES, TALLY_DROP},
    tally,
};

/// The slot of the rule that holds for `packet` now. Without a rule for its id this costs one look-up in an array.
#[inline(always)]
pub(crate) fn rule_for(packet: &EchoPacket) -> Option<u32> {
    let cell = CELLS.get_ptr(u32::from(packet.id))?;
    // SAFETY: the map gave a valid pointer; an index of a kind is within the cell.
    let slot = unsafe { *cell.cast::<u16>().add(packet.kind.index() & 3) };
    let slot = u32::from(slot).checked_sub(1)?;
    let rule = RULES.get(slot)?;
    (rule.deadline_ns == 0 || now(slot) < rule.deadline_ns).then_some(slot)
}

/// Notes that the rule in `slot` dropped `packet`.
#[inline(always)]
pub(crate) fn note_drop(slot: u32, packet: &EchoPacket) {
    tally::count(&TALLY_DROP, packet);
    let Some(deed) = DEEDS.get_ptr_mut(slot) else { return };
    let tick = tick();
    // SAFETY: the map gave a valid pointer to this processor's own deed.
    unsafe {
        (*deed).dropped.packets += 1;
        (*deed).dropped.bytes += u64::from(packet.ip_bytes);
        if (*deed).last_tick != tick {
            (*deed).last_tick = tick;
            (*deed).last_ns = clock();
        }
    }
}

/// `CLOCK_MONOTONIC`: as the rule in `slot` noted it in this tick, or else from the clock.
#[inline(always)]
fn now(slot: u32) -> u64 {
    match DEEDS.get(slot) {
        Some(deed) if deed.last_tick == tick() => deed.last_ns,
        _ => clock(),
    }
}

/// `CLOCK_MONOTONIC`, exact to one tick: a tenth of the price of the exact clock, and still the price of a call.
#[inline(always)]
fn clock() -> u64 {
    // SAFETY: reads a clock.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// The number of the kernel's current tick: the verifier makes one load of it.
#[inline(always)]
fn tick() -> u64 {
    // SAFETY: reads a counter.
    unsafe { bpf_jiffies64() }
}
