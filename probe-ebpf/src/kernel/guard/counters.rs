//! The only writer of the guard's counters.

use probe_ebpf::GuardCount;

use crate::kernel::{
    atomic,
    maps::{GUARD_COUNTS, GUARD_DROPS},
};

/// Counts one more of `what`.
#[inline(always)]
pub(super) fn count(what: GuardCount) {
    if let Some(counter) = GUARD_COUNTS.get_ptr_mut(what.index()) {
        // SAFETY: the map gave a valid pointer to this processor's own counter.
        unsafe { *counter += 1 };
    }
}

/// Counts one more dropped packet with this id.
#[inline(always)]
pub(super) fn note_drop(id: u16) {
    if let Some(counter) = GUARD_DROPS.get_ptr_mut(u32::from(id)) {
        // SAFETY: the map gave a valid pointer to 8 bytes, which the kernel aligns.
        unsafe { atomic::add_u64(counter, 1) };
    }
}
