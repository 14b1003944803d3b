//! The only writer of the journeys: which probe passed which hop, and when first.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use probe_ebpf::{
    Hop, Passage,
    contract::journey::{mark_end, passage_index, probe_of},
    packet::{EchoPacket, addresses},
};

use super::{
    atomic,
    config::config,
    follow,
    maps::JOURNEYS,
    numbered::{Ends, by_number, numbered_between},
    reader::{Packet, WholePacket},
    skb::SkbEcho,
};

/// Notes that the packet passed `hop` at the interface `ifindex`, if it is a probe of this run; returns the index of that
/// passage.
#[inline(always)]
pub(crate) fn note(hop: Hop, seen: &SkbEcho, ifindex: u32) -> Option<u32> {
    let at = At { ifindex, unmarked: seen.unmarked };
    write(hop, &seen.packet, seen.probe?, at, seen.ends()?)
}

/// Notes the passage at a hop that has packet memory, from which `echo` was read; returns the number of the probe.
#[inline(always)]
pub(crate) fn note_packet<P: Packet>(hop: Hop, packet: &P, echo: &EchoPacket) -> Option<u32> {
    let nonce = config!(nonce);
    let linear = packet.linear();
    // Most packets are no probes: the slower copy is made only if the mark may be in the non-linear part.
    let marked = if mark_end(echo) <= linear.len() {
        probe_of(&linear, echo, nonce)
    } else {
        probe_of(&WholePacket(packet), echo, nonce)
    };
    if marked.is_none() && !follow::is_on() {
        by_number(echo)?;
    }
    let ends = addresses(&linear, echo).or_else(|| addresses(&WholePacket(packet), echo))?;
    let probe = match marked {
        Some(probe) => probe,
        None => numbered_between(echo, [bytemuck::cast(ends.0), bytemuck::cast(ends.1)])?,
    };
    write(hop, echo, probe, At { ifindex: packet.ifindex(), unmarked: marked.is_none() && !follow::is_on() }, ends)?;
    Some(probe)
}

/// Where a packet is, and whether it was recognized without its mark.
#[derive(Clone, Copy)]
struct At {
    ifindex: u32,
    unmarked: bool,
}

#[inline(always)]
fn write(hop: Hop, packet: &EchoPacket, probe: u32, at: At, ends: Ends) -> Option<u32> {
    let index = passage_index(hop as u32, packet.kind.echo, probe);
    let passage = JOURNEYS.get_ptr_mut(index)?;
    put(passage, packet, at, ends);
    Some(index)
}

/// Writes the packet's passage at the interface `ifindex` to `passage`, which a map gave.
#[inline(always)]
pub(crate) fn fill(passage: *mut Passage, seen: &SkbEcho, ifindex: u32) -> Option<()> {
    let at = At { ifindex, unmarked: seen.unmarked };
    put(passage, &seen.packet, at, seen.ends()?);
    Some(())
}

#[inline(always)]
fn put(passage: *mut Passage, packet: &EchoPacket, at: At, (source, destination): Ends) {
    // SAFETY: the map gave a valid pointer. Several processors write `times` at once if a probe was duplicated; the other
    // fields keep the last value, each field intact.
    unsafe {
        if (*passage).first_ns == 0 {
            (*passage).first_ns = bpf_ktime_get_ns();
        }
        (*passage).ifindex = at.ifindex;
        (*passage).id = packet.id;
        (*passage).ttl = packet.ttl;
        (*passage).source = source;
        (*passage).destination = destination;
        if at.unmarked {
            (*passage).unmarked = 1;
        }
        atomic::add_u32(&raw mut (*passage).times, 1);
    }
}

/// Notes what the hop reported later about the packet of passage `index`.
#[inline(always)]
pub(crate) fn note_detail(index: u32, detail: i32) {
    let Some(passage) = JOURNEYS.get_ptr_mut(index) else { return };
    // SAFETY: the map gave a valid pointer.
    unsafe { (*passage).detail = detail };
}

/// Undoes passage `index`: the packet did not pass after all, and will come again.
#[inline(always)]
pub(crate) fn take_back(index: u32) {
    let Some(passage) = JOURNEYS.get_ptr_mut(index) else { return };
    // SAFETY: the map gave a valid pointer.
    unsafe { atomic::add_u32(&raw mut (*passage).times, u32::MAX) };
}
