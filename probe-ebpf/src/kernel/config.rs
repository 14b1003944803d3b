//! The frozen global that the user half fills in before it loads the programs.

use probe_ebpf::{
    Config, Family,
    config::{ONLY_V4, ONLY_V6},
};

/// In `.rodata`: the verifier knows its fields as constants, and removes what they turn off.
#[unsafe(no_mangle)]
pub(crate) static PROBE_CONFIG: Config = Config {
    abi: 0,
    row_mask: 0,
    shared_rows: 0,
    raw_ip: 0,
    filter: 0,
    filter_steps: 0,
    track: 0,
    capture: 0,
    ifindex: 0,
    journey: 0,
    requests: 0,
    netns: 0,
    everywhere: 0,
    opens: 0,
    inner: 0,
    numbered: 0,
    id: 0,
    first_seq: 0,
    probes: 0,
    nonce: 0,
    follow: 0,
    process: 0,
    pid_namespace: 0,
    learns_late: 0,
    near: [0; 2],
    far: [0; 2],
    only: 0,
};

/// One field of the configuration.
macro_rules! config {
    ($($field:tt)+) => {{
        let field = &raw const $crate::kernel::config::PROBE_CONFIG.$($field)+;
        // SAFETY: points to a field of a static; volatile, so that the compiler does not take the value at build time.
        unsafe { core::ptr::read_volatile(field) }
    }};
}
pub(crate) use config;

/// Returns the echo id by which packets without a mark can be probes of the run; `None` if none are.
#[inline(always)]
pub(crate) fn id() -> Option<u16> {
    if config!(numbered) == 0 { None } else { Some(config!(id) as u16) }
}

/// Reports whether packets of `family` are read at all.
#[inline(always)]
pub(crate) fn reads(family: Family) -> bool {
    let other = match family {
        Family::V4 => ONLY_V6,
        Family::V6 => ONLY_V4,
    };
    config!(only) != other
}
