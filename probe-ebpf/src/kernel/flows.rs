//! Flows: who pings whom, and how long each request waited. They cost hash look-ups and a clock, so they are optional.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use probe_ebpf::{
    Direction, Echo, Flow, FlowKey, Pending, PendingKey, Skip,
    flow::{RTT_BUCKETS, rtt_bucket},
    packet::EchoPacket,
};

use super::{
    atomic,
    maps::{FLOWS, NEW_FLOW, PENDING, TRACKING},
    skip,
};

/// `BPF_NOEXIST`: another processor's entry is not overwritten.
const NO_EXIST: u64 = 1;

/// Source and destination address.
pub(crate) type Endpoints = ([u8; 16], [u8; 16]);

/// Follows `packet` between its `ends`, as it crosses this NIC in `direction`, once the user half has said that both
/// directions are watched: a request whose way back was not watched when it left would wait for ever.
#[inline(always)]
pub(crate) fn track(packet: &EchoPacket, ends: Endpoints, direction: Direction) {
    if TRACKING.get(0).is_none_or(|tracking| *tracking == 0) {
        return;
    }
    // SAFETY: reads a clock.
    let now = unsafe { bpf_ktime_get_ns() };
    let key = flow_key(packet, ends, direction);
    let Some(flow) = find_or_add(&key) else {
        skip::count(Skip::FlowsFull);
        return;
    };
    // SAFETY: the map gave a valid pointer; a torn write of a clock by two processors at once is within their skew.
    unsafe { (*flow).last_ns = now };
    let key = PendingKey { flow: key, seq: packet.seq };
    match packet.kind.echo {
        Echo::Request => wait(&key, now),
        Echo::Reply => answer(&key, now, flow),
    }
}

#[inline(always)]
fn flow_key(packet: &EchoPacket, (source, destination): Endpoints, direction: Direction) -> FlowKey {
    let inbound = matches!(direction, Direction::In);
    let (asker, answerer, outbound) = match packet.kind.echo {
        Echo::Request => (source, destination, !inbound),
        Echo::Reply => (destination, source, inbound),
    };
    FlowKey { asker, answerer, id: packet.id, outbound: u16::from(outbound) }
}

#[inline(always)]
fn find_or_add(key: &FlowKey) -> Option<*mut Flow> {
    if let Some(flow) = FLOWS.get_ptr_mut(key) {
        return Some(flow);
    }
    // Fails if another processor was faster: then its entry is found below.
    let _ = FLOWS.insert(key, NEW_FLOW.get(0)?, NO_EXIST);
    FLOWS.get_ptr_mut(key)
}

/// Notes that a request waits from now on.
#[inline(always)]
fn wait(key: &PendingKey, now: u64) {
    if let Some(pending) = PENDING.get_ptr_mut(key) {
        // SAFETY: the map gave a valid pointer.
        unsafe {
            (*pending).sent_ns = now;
            atomic::add_u64(&raw mut (*pending).waiting, 1);
        }
    } else if PENDING.insert(key, Pending { sent_ns: now, waiting: 1 }, NO_EXIST).is_err() {
        skip::count(Skip::PendingFull);
    }
}

/// Notes that one of the waiting requests was answered, and how long that took.
#[inline(always)]
fn answer(key: &PendingKey, now: u64, flow: *mut Flow) {
    let Some(pending) = PENDING.get_ptr_mut(key) else { return };
    // SAFETY: the map gave a valid pointer.
    let (sent_ns, waiting) = unsafe { ((*pending).sent_ns, (*pending).waiting) };
    if waiting > 1 {
        // SAFETY: as above.
        unsafe { atomic::add_u64(&raw mut (*pending).waiting, u64::MAX) };
    } else if PENDING.remove(key).is_err() {
        return;
    }
    let bucket = rtt_bucket(now.saturating_sub(sent_ns)) & (RTT_BUCKETS - 1);
    // SAFETY: `flow` came from the map in this run of the program; the bucket is within the array.
    unsafe {
        atomic::add_u64(&raw mut (*flow).answered, 1);
        atomic::add_u32((&raw mut (*flow).rtt).cast::<u32>().add(bucket), 1);
    }
}
