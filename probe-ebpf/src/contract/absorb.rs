//! Packets of a run that were kept from the kernel: what is reported of each.

use bytemuck::{Pod, Zeroable};

/// [`super::Config::requests`]: requests of the run are kept from the kernel, and reported as an [`AbsorbEvent`].
pub const ABSORB: u32 = 1;
/// [`super::Config::requests`]: XDP turns them into replies.
pub const ANSWER: u32 = 2;
/// [`super::Config::requests`]: as [`ABSORB`], and the run's replies as well.
pub const ABSORB_REPLIES: u32 = 3;

/// One packet that was absorbed, as it was on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct AbsorbEvent {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub time_ns: u64,
    /// Source address in wire order, IPv4 as `::ffff:a.b.c.d`.
    pub source: [u8; 16],
    /// Destination address, in the same form.
    pub destination: [u8; 16],
    /// Bytes of ICMP header and payload, according to the IP header.
    pub icmp_bytes: u32,
    /// Echo id.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// The number of the probe, from its mark.
    pub probe: u16,
    /// ICMP code.
    pub code: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// 1: more fragments follow.
    pub fragmented: u32,
}
