//! Copies of packets into the ring, for `probe receive`.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use probe_ebpf::{Event, EventHead, Skip, event::EVENT_SIZES, packet::LinkLayer};

use super::{config::config, maps::EVENTS, reader::Packet, skip};

/// `BPF_RB_NO_WAKEUP`: one wake-up costs the packet path 10 µs, so the reader polls.
const NO_WAKEUP: u64 = 1;

/// Copies `packet` into the ring; `dropped` says what happens to it next.
#[inline(always)]
pub(crate) fn capture<P: Packet>(packet: &P, dropped: bool) {
    let length = packet.len();
    let copied = if length as usize <= EVENT_SIZES[0] {
        copy::<EVENT_SIZE_SMALL, P>(packet, length, dropped)
    } else if length as usize <= EVENT_SIZES[1] {
        copy::<EVENT_SIZE_MIDDLE, P>(packet, length, dropped)
    } else {
        copy::<EVENT_SIZE_LARGE, P>(packet, length, dropped)
    };
    if copied.is_none() {
        skip::count(Skip::RingFull);
    }
}

const _: () = assert!(EVENT_SIZES[0].is_power_of_two() && EVENT_SIZES[1].is_power_of_two());
const _: () = assert!(EVENT_SIZES[2].is_power_of_two());
const EVENT_SIZE_SMALL: usize = EVENT_SIZES[0];
const EVENT_SIZE_MIDDLE: usize = EVENT_SIZES[1];
const EVENT_SIZE_LARGE: usize = EVENT_SIZES[2];

#[inline(always)]
fn copy<const N: usize, P: Packet>(packet: &P, length: u32, dropped: bool) -> Option<()> {
    let bounded = if length as usize > N { N as u32 } else { length };
    // Repeats the bound as arithmetic, from which the verifier derives a length of 1 to N: N is a power of two.
    let copied = (opaque(bounded.wrapping_sub(1)) & (N as u32 - 1)) + 1;
    let mut entry = EVENTS.reserve::<Event<N>>(0)?;
    let event = entry.as_mut_ptr();
    // SAFETY: reads a clock.
    let time_ns = unsafe { bpf_ktime_get_ns() };
    let head = EventHead {
        time_ns,
        ifindex: config!(ifindex),
        packet_bytes: length,
        copied_bytes: copied,
        dropped: u32::from(dropped),
        raw_ip: u32::from(packet.link_layer() == LinkLayer::RawIp),
        reserved: 0,
    };
    // SAFETY: the ring reserved space for one event, and `copied` is at most N.
    let complete = unsafe {
        (*event).head = head;
        packet.copy(0, (&raw mut (*event).packet).cast(), copied)
    };
    if complete {
        entry.submit(NO_WAKEUP);
        Some(())
    } else {
        entry.discard(NO_WAKEUP);
        None
    }
}

/// Hides a number from the compiler, which must keep the arithmetic that follows for the verifier.
#[inline(always)]
fn opaque(number: u32) -> u32 {
    // SAFETY: reads a local variable.
    unsafe { core::ptr::read_volatile(&raw const number) }
}
