//! What it cost to watch a run.

use serde::{Deserialize, Serialize};

/// What watching cost, and what it missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accounting {
    /// Drop events that the ring had no room for.
    pub events_lost: u64,
    /// Maps that ran out of room, except for the ring of drop events.
    pub maps_full: u64,
    /// How long it took from being asked to watch until every hop was watched, in milliseconds.
    pub attach_ms: u64,
    /// Nanoseconds that the programs took per packet, by the kernel's own statistics; 0: not measured.
    pub bpf_ns_per_packet: u64,
}
