//! What the programs of drop events must know of the running kernel, as frozen constants.

use probe_ebpf::contract::drops::{DropConfig, ICMP_RANGES, NO_REASON};

/// In `.rodata`: the verifier knows its fields as constants, and removes what they turn off.
#[unsafe(no_mangle)]
pub(crate) static PROBE_DROPS: DropConfig = DropConfig {
    icmp_code: [[0; 2]; ICMP_RANGES],
    reason_given: 0,
    location_given: 0,
    netfilter_drop: NO_REASON,
    not_specified: NO_REASON,
    no_socket: NO_REASON,
    reserved: 0,
};

/// Reads one field of that global.
macro_rules! drop_config {
    ($($place:tt)+) => {{
        let place = &raw const $crate::kernel::drop_config::PROBE_DROPS.$($place)+;
        // SAFETY: points into a static; volatile, so that the compiler does not take the value at build time.
        unsafe { core::ptr::read_volatile(place) }
    }};
}
pub(crate) use drop_config;
