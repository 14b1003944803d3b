//! Durations in the unit of the kernel half.

use std::time::Duration;

/// Converts a duration to nanoseconds, cut so that it can still be added to any reading of the clock.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}
