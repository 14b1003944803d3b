//! Flows: who pings whom, which requests wait for a reply, and how long replies took.

use bytemuck::{Pod, Zeroable};

/// One ping: the two ends and the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct FlowKey {
    /// The end that sends requests.
    pub asker: [u8; 16],
    /// The end that sends replies.
    pub answerer: [u8; 16],
    /// Echo id.
    pub id: u16,
    /// 1 if the asker's requests leave through this NIC, 0 if they enter.
    pub outbound: u16,
}

/// Buckets of the round-trip histogram.
pub const RTT_BUCKETS: usize = 256;

/// What is known of a flow.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Flow {
    /// `CLOCK_MONOTONIC` in nanoseconds of its last packet.
    pub last_ns: u64,
    /// Replies that matched a waiting request.
    pub answered: u64,
    /// Their round-trip times, counted by [`rtt_bucket`].
    pub rtt: [u32; RTT_BUCKETS],
}

/// One waiting request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct PendingKey {
    /// Its flow.
    pub flow: FlowKey,
    /// Echo sequence number.
    pub seq: u16,
}

/// How long it has been waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Pending {
    /// `CLOCK_MONOTONIC` in nanoseconds of the newest request.
    pub sent_ns: u64,
    /// How many requests with this sequence number wait.
    pub waiting: u64,
}

/// Written by the user half into the map [`crate::names::TRACKING`] once every hop is attached. Before that, packets are
/// counted but not followed: a request waits only if its way back was watched when it left.
pub const TRACKING: u32 = 1;

/// The most flows that are kept; the least recently used makes room.
pub const MAX_FLOWS: u32 = 8192;

/// The most requests that can wait at once; what does not fit is counted as [`crate::Skip::PendingFull`].
pub const MAX_PENDING: u32 = 65_536;

/// Below 2^10 nanoseconds, about 1 µs, all round trips share bucket 0.
const RTT_FLOOR_LOG2: u32 = 10;

/// Each power of two is divided into 2^3 buckets.
const RTT_STEPS_LOG2: u32 = 3;
const RTT_STEPS: u64 = 1 << RTT_STEPS_LOG2;

/// Returns the bucket of a round trip: eight per power of two from 1 µs up, so that a bucket is at most an eighth as wide as
/// its start; the last holds everything longer than about an hour.
#[inline(always)]
pub const fn rtt_bucket(nanoseconds: u64) -> usize {
    if nanoseconds >> RTT_FLOOR_LOG2 == 0 {
        return 0;
    }
    let log2 = 63 - nanoseconds.leading_zeros();
    let step = (nanoseconds >> (log2 - RTT_STEPS_LOG2)) & (RTT_STEPS - 1);
    let bucket = (log2 - RTT_FLOOR_LOG2) as usize * RTT_STEPS as usize + step as usize + 1;
    if bucket < RTT_BUCKETS { bucket } else { RTT_BUCKETS - 1 }
}

/// Returns the shortest round trip of a bucket, in nanoseconds.
pub const fn rtt_bucket_start(bucket: usize) -> u64 {
    let Some(above_floor) = bucket.checked_sub(1) else { return 0 };
    let log2 = (above_floor / RTT_STEPS as usize) as u32 + RTT_FLOOR_LOG2;
    let step = above_floor as u64 % RTT_STEPS;
    (RTT_STEPS + step) << (log2 - RTT_STEPS_LOG2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_starts_where_it_says() {
        for bucket in 1..RTT_BUCKETS {
            let start = rtt_bucket_start(bucket);
            assert_eq!(rtt_bucket(start), bucket);
            assert_eq!(rtt_bucket(start - 1), bucket - 1);
        }
    }

    #[test]
    fn a_bucket_is_at_most_an_eighth_as_wide_as_its_start() {
        for bucket in 1..RTT_BUCKETS - 1 {
            let width = rtt_bucket_start(bucket + 1) - rtt_bucket_start(bucket);
            assert!(width * 8 <= rtt_bucket_start(bucket), "bucket {bucket}");
        }
    }

    #[test]
    fn the_ends_have_a_bucket_too() {
        assert_eq!(rtt_bucket(0), 0);
        assert_eq!(rtt_bucket(u64::MAX), RTT_BUCKETS - 1);
    }
}
