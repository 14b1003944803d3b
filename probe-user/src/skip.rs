//! Tests that cannot run here say so loudly, as the integration tests do.

use std::io::{self, Write};

use crate::kernel::btf::Btf;

/// Says that `test` is skipped for want of what it `needs`.
///
/// # Panics
/// Under `PROBE_NO_SKIP=1`.
pub(crate) fn skip(test: &str, needs: &str) {
    // Unlike eprintln, which the test harness swallows.
    let _ = writeln!(io::stderr(), "SKIPPED (needs {needs}): {test}");
    assert!(std::env::var_os("PROBE_NO_SKIP").is_none_or(|value| value != "1"), "{test} was skipped");
}

/// The running kernel's BTF. Where it has none, says that `test` is skipped.
///
/// # Panics
/// It has BTF that cannot be read.
pub(crate) fn running_btf(test: &str) -> Option<Btf> {
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        skip(test, "a kernel with BTF");
        return None;
    }
    Some(Btf::running().expect("BTF that can be read"))
}
