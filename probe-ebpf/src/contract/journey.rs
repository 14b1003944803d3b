//! Journeys: which of this run's own probes passed which hop, and when first.
//!
//! A probe is an echo packet whose payload starts with a [`Mark`]. It is known by that at every hop of both hosts, also
//! where a NAT rewrote its id, and its reply carries it back.

use bytemuck::{Pod, Zeroable};

use super::kind::Echo;

/// The first bytes of a probe's payload, all in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Mark {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// Which probe of the run, big-endian, below [`MAX_PROBES`].
    pub index: [u8; 2],
    /// Zero.
    pub reserved: [u8; 2],
    /// What tells this run from every other, big-endian.
    pub nonce: [u8; 8],
}

/// What every mark starts with.
pub const MAGIC: [u8; 4] = *b"prob";

/// Bytes of a mark: the smallest payload of a probe.
pub const MARK_BYTES: usize = size_of::<Mark>();

/// How many probes a run can have.
pub const MAX_PROBES: u32 = 1024;

/// What one hop saw of one probe's request or reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Step {
    /// `CLOCK_MONOTONIC` in nanoseconds when it first passed; 0: never.
    pub first_ns: u64,
    /// How often it passed: more than once where it was duplicated.
    pub times: u32,
    /// The interface at which it passed last; 0 where the hop has none.
    pub ifindex: u32,
    /// The echo id that it had here.
    pub id: u16,
    /// Its TTL or hop limit here.
    pub ttl: u8,
    /// Zero.
    pub reserved: u8,
    /// What the hop has to say of it: the return code of `net_dev_xmit`; else 0.
    pub detail: i32,
}

/// Where in the map of journeys a step is: by hop, then request or reply, then probe.
#[inline(always)]
pub const fn step_index(hop: u32, echo: Echo, probe: u32) -> u32 {
    let leg = match echo {
        Echo::Request => 0,
        Echo::Reply => 1,
    };
    (hop * 2 + leg) * MAX_PROBES + (probe & (MAX_PROBES - 1))
}
