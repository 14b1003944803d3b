//! Absorbing: requests of the run are reported and kept from the kernel. Only by their nonce, and only during the watch.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use probe_ebpf::{AbsorbEvent, Skip, packet::EchoPacket};

use super::{maps::ABSORBED, skip};

/// `BPF_RB_NO_WAKEUP`: the reader polls.
const NO_WAKEUP: u64 = 1;

/// Reports the request `echo` of the run, which has this number and these ends. If the ring is full, that is counted,
/// and the request is absorbed nevertheless: the far kernel must not reply to it.
#[inline(always)]
pub(crate) fn report(echo: &EchoPacket, probe: u32, (source, destination): ([u8; 16], [u8; 16])) {
    let Some(mut entry) = ABSORBED.reserve::<AbsorbEvent>(0) else {
        skip::count(Skip::AbsorbedFull);
        return;
    };
    let event = entry.as_mut_ptr();
    // SAFETY: the ring reserved space for one event, of which every field is written; the clock is only read.
    unsafe {
        (*event).time_ns = bpf_ktime_get_ns();
        (*event).source = source;
        (*event).destination = destination;
        (*event).icmp_bytes = echo.icmp_bytes;
        (*event).id = echo.id;
        (*event).seq = echo.seq;
        (*event).probe = probe as u16;
        (*event).code = echo.code;
        (*event).ttl = echo.ttl;
        (*event).fragmented = u32::from(echo.first_fragment);
    }
    entry.submit(NO_WAKEUP);
}
