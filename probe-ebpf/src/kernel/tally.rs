//! The only writer of the tallies.

use aya_ebpf::{helpers::bpf_get_smp_processor_id, maps::Array};
use probe_ebpf::{Tally, packet::EchoPacket};

use super::{atomic, config::config};

/// Counts `packet` in `tally`: one look-up in an array, in this processor's row.
#[inline(always)]
pub(crate) fn count(tally: &Array<Tally>, packet: &EchoPacket) {
    // SAFETY: reads a number.
    let row = unsafe { bpf_get_smp_processor_id() } & config!(row_mask);
    let Some(tally) = tally.get_ptr_mut((row << 16) | u32::from(packet.id)) else { return };
    let shared_rows = config!(shared_rows) != 0;
    // SAFETY: the map gave a valid pointer; an index of a kind is within the array.
    unsafe {
        let count = (&raw mut (*tally).kinds).cast::<probe_ebpf::Count>().add(packet.kind.index() & 3);
        if shared_rows {
            atomic::add_u64(&raw mut (*count).packets, 1);
            atomic::add_u64(&raw mut (*count).bytes, u64::from(packet.ip_bytes));
        } else {
            (*count).packets += 1;
            (*count).bytes += u64::from(packet.ip_bytes);
        }
    }
}
