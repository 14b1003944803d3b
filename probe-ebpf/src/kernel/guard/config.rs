//! The frozen global with the guard's configuration.

use probe_ebpf::GuardConfig;

/// In `.rodata`: the verifier knows its fields as constants, and removes what they turn off.
#[unsafe(no_mangle)]
pub(super) static PROBE_GUARD: GuardConfig = GuardConfig {
    timeout_ns: 0,
    answered_timeout_ns: 0,
    deadline_ns: 0,
    secret: [0; 5],
    set_mask: 0,
    key: 0,
    protect: 0,
    refresh: 0,
    first_reply_counts: 0,
    replies: 0,
    code_zero: 0,
    deny_requests: 0,
    dry_run: 0,
    test_clock: 0,
};

/// Reads one field of that global.
macro_rules! guard {
    ($($place:tt)+) => {{
        let place = &raw const $crate::kernel::guard::config::PROBE_GUARD.$($place)+;
        // SAFETY: points into a static; volatile, so that the compiler does not take the value at build time.
        unsafe { core::ptr::read_volatile(place) }
    }};
}
pub(super) use guard;
