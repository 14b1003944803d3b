//! The counters of packets that were not counted, by cause.

use probe_ebpf::Skip;

use super::maps::SKIPS;

/// Notes that `skip` happened, unless the packet is no echo packet at all: that is most of a host's traffic.
#[inline(always)]
pub(crate) fn count(skip: Skip) {
    if matches!(skip, Skip::NotEcho) {
        return;
    }
    if let Some(counter) = SKIPS.get_ptr_mut(skip.index()) {
        // SAFETY: the map gave a valid pointer to this processor's own counter.
        unsafe { *counter += 1 };
    }
}
