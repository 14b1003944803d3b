//! How far the far end's clock is from this host's, bounded by the round trips of the control channel: pure.

use std::time::Duration;

/// What is known of the far end's clock. The quickest round trip tells most: the far end read its clock somewhere
/// between question and answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FarClock {
    best: Option<Sample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    /// The far clock less this one's, in nanoseconds.
    ahead: i128,
    /// Half of the round trip, in nanoseconds.
    error: u64,
}

impl FarClock {
    /// Learns that the far clock showed `far` between `before` and `after` of this host's clock, all in nanoseconds.
    pub fn learn(&mut self, before: u64, far: u64, after: u64) {
        let error = after.saturating_sub(before) / 2;
        if far != 0 && self.best.is_none_or(|best| error < best.error) {
            self.best = Some(Sample { ahead: i128::from(far) - i128::from(before) - i128::from(error), error });
        }
    }

    /// Converts a time of the far clock to this host's clock. Returns it unchanged if nothing was learned about the
    /// clocks.
    pub fn here(&self, far: u64) -> u64 {
        let ahead = self.best.map_or(0, |best| best.ahead);
        u64::try_from((i128::from(far) - ahead).max(0)).unwrap_or(u64::MAX)
    }

    /// Returns by how many nanoseconds the far clock is ahead of this host's; 0 if nothing was learned about the clocks.
    pub fn ahead(&self) -> i64 {
        self.best.and_then(|best| i64::try_from(best.ahead).ok()).unwrap_or_default()
    }

    /// Returns the maximum error of the conversion.
    pub fn error(&self) -> Duration {
        Duration::from_nanos(self.best.map_or(0, |best| best.error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_round_trip_counts() {
        let mut clock = FarClock::default();
        clock.learn(1_000, 51_500, 2_000);
        clock.learn(3_000, 53_050, 3_100);
        clock.learn(5_000, 59_000, 9_000);
        assert_eq!(clock.here(60_000), 10_000);
        assert_eq!(clock.ahead(), 50_000);
        assert_eq!(clock.error(), Duration::from_nanos(50));
    }

    #[test]
    fn a_clock_that_is_behind_is_behind() {
        let mut clock = FarClock::default();
        clock.learn(1_000_000, 10, 1_000_020);
        assert_eq!(clock.here(1_010), 1_001_010);
        assert_eq!(FarClock::default().here(7), 7);
    }
}
