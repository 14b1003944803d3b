//! The clock that both halves share.

use nix::time::{ClockId, clock_gettime};

/// Returns `CLOCK_MONOTONIC` in nanoseconds, the clock of the kernel half.
pub fn monotonic_ns() -> u64 {
    reading(ClockId::CLOCK_MONOTONIC)
}

/// Returns the current offset from `CLOCK_MONOTONIC` to nanoseconds since 1970.
pub fn monotonic_to_unix() -> u64 {
    reading(ClockId::CLOCK_REALTIME).saturating_sub(monotonic_ns())
}

fn reading(clock: ClockId) -> u64 {
    let now = clock_gettime(clock).expect("every Linux has this clock");
    now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
}
