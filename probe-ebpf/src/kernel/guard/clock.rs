//! The guard's clock.

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;

use super::config::guard;
use crate::kernel::maps::GUARD;

/// Returns `CLOCK_MONOTONIC` in nanoseconds, exact to one tick of the kernel; in tests, the time that they set.
#[inline(always)]
pub(super) fn now() -> u64 {
    if guard!(test_clock) != 0 {
        return GUARD.get(0).map_or(0, |record| record.clock_ns);
    }
    // SAFETY: reads a clock.
    unsafe { bpf_ktime_get_coarse_ns() }
}
