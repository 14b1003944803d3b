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
    /// 1 where the asker's requests leave through this NIC, 0 where they enter.
    pub outbound: u16,
}

/// Buckets of the round-trip histogram.
pub const RTT_BUCKETS: usize = 128;

/// What is known of a flow.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Flow {
    /// `CLOCK_MONOTONIC` in nanoseconds of its last packet.
    pub last_ns: u64,
    /// Replies that matched a waiting request.
    pub answered: u64,
    /// How many of those took how long: by [`rtt_bucket`].
    pub rtt: [u32; RTT_BUCKETS],
}

/// One request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct PendingKey {
    /// Its flow.
    pub flow: FlowKey,
    /// Echo sequence number.
    pub seq: u16,
}

/// Since when it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Pending {
    /// `CLOCK_MONOTONIC` in nanoseconds of the newest request.
    pub sent_ns: u64,
    /// How many requests with this sequence number wait.
    pub waiting: u64,
}

/// How many flows are kept; the least recently used makes room.
pub const MAX_FLOWS: u32 = 16_384;

/// How many requests can wait at once; what does not fit is counted as [`crate::Skip::PendingFull`].
pub const MAX_PENDING: u32 = 65_536;

/// Below this many nanoseconds all round trips share bucket 0: 2^[`RTT_FLOOR_LOG2`], about 1 µs.
const RTT_FLOOR_LOG2: u32 = 10;

/// The bucket of a round trip: four to each power of two, from 1 µs up; the last takes all from about an hour on.
/// A bucket's width is a quarter of its lower bound or less.
#[inline(always)]
pub const fn rtt_bucket(nanoseconds: u64) -> usize {
    if nanoseconds >> RTT_FLOOR_LOG2 == 0 {
        return 0;
    }
    let log2 = 63 - nanoseconds.leading_zeros();
    let quarter = (nanoseconds >> (log2 - 2)) & 3;
    let bucket = ((log2 - RTT_FLOOR_LOG2) as usize) * 4 + quarter as usize + 1;
    if bucket < RTT_BUCKETS { bucket } else { RTT_BUCKETS - 1 }
}

/// The shortest round trip of a bucket, in nanoseconds.
pub const fn rtt_bucket_start(bucket: usize) -> u64 {
    if bucket == 0 {
        return 0;
    }
    let log2 = ((bucket - 1) / 4) as u32 + RTT_FLOOR_LOG2;
    let quarter = ((bucket - 1) % 4) as u64;
    (4 + quarter) << (log2 - 2)
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
    fn the_ends_have_a_bucket_too() {
        assert_eq!(rtt_bucket(0), 0);
        assert_eq!(rtt_bucket(u64::MAX), RTT_BUCKETS - 1);
    }
}
