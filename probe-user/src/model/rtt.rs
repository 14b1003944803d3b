//! Round-trip times from the kernel half's histogram.

use probe_ebpf::flow::{RTT_BUCKETS, rtt_bucket_start};

/// A histogram of round trips, by [`probe_ebpf::flow::rtt_bucket`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; RTT_BUCKETS] }
    }
}

impl Histogram {
    /// Adds the counts of one flow.
    pub fn add(&mut self, counts: &[u32; RTT_BUCKETS]) {
        for (sum, count) in self.buckets.iter_mut().zip(counts) {
            *sum += u64::from(*count);
        }
    }

    /// Returns the round trip, in nanoseconds, that the fraction `part` (0 to 1) of all does not exceed; exact to an eighth.
    /// `None` if nothing was answered.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let total: u64 = self.buckets.iter().sum();
        if total == 0 {
            return None;
        }
        let rank = ((total as f64 * part).ceil() as u64).clamp(1, total);
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            if below + count >= rank {
                return Some(inside(bucket, (rank - below) as f64 / (*count as f64)));
            }
            below += count;
        }
        None
    }
}

/// Returns the value at the fraction `part` of the width of `bucket`.
fn inside(bucket: usize, part: f64) -> u64 {
    let start = rtt_bucket_start(bucket);
    let end = if bucket + 1 < RTT_BUCKETS { rtt_bucket_start(bucket + 1) } else { start };
    start + ((end - start) as f64 * part) as u64
}

#[cfg(test)]
mod tests {
    use probe_ebpf::flow::rtt_bucket;
    use proptest::prelude::*;

    use super::*;

    fn histogram(times: &[u64]) -> Histogram {
        let mut counts = [0; RTT_BUCKETS];
        for time in times {
            counts[rtt_bucket(*time)] += 1;
        }
        let mut histogram = Histogram::default();
        histogram.add(&counts);
        histogram
    }

    #[test]
    fn without_answers_there_is_no_round_trip() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_an_eighth_of_the_true_one(
            mut times in prop::collection::vec(2_000_u64..10_000_000_000, 1..200),
            part in 0.01_f64..1.0,
        ) {
            let computed = histogram(&times).quantile(part).expect("there are times");
            times.sort_unstable();
            let rank = ((times.len() as f64 * part).ceil() as usize).clamp(1, times.len());
            let truth = times[rank - 1];
            prop_assert!(computed.abs_diff(truth) * 8 <= truth + 8, "computed {computed}, truth {truth}");
        }
    }
}
