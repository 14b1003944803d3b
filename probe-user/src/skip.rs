//! Reports tests that cannot run here, as the integration tests do.

use std::io::{self, Write};

use crate::host::btf::Btf;

/// Prints that `test` is skipped because it `needs` something.
///
/// # Panics
/// Under `PROBE_NO_SKIP=1`.
pub(crate) fn skip(test: &str, needs: &str) {
    // Unlike eprintln, which the test harness swallows.
    let _ = writeln!(io::stderr(), "SKIPPED (needs {needs}): {test}");
    assert!(std::env::var_os("PROBE_NO_SKIP").is_none_or(|value| value != "1"), "{test} was skipped");
}

/// Reads the running kernel's BTF. If it has none, prints that `test` is skipped.
///
/// # Panics
/// If it has BTF that cannot be parsed.
pub(crate) fn running_btf(test: &str) -> Option<Btf> {
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        skip(test, "a kernel with BTF");
        return None;
    }
    Some(Btf::running().expect("BTF that can be read"))
}
