//! What integration tests share.

use std::io::{self, Write};

use nix::unistd::geteuid;

/// Whether the test may run: it needs root, and says so where it is skipped. `PROBE_NO_SKIP=1` makes that a failure.
pub(crate) fn is_root(test: &str) -> bool {
    if geteuid().is_root() {
        return true;
    }
    assert!(std::env::var_os("PROBE_NO_SKIP").is_none_or(|value| value != "1"), "{test} needs root");
    // Not eprintln!, which the test harness swallows where a test passes.
    let _ = writeln!(io::stderr(), "SKIPPED (needs root): {test}");
    false
}
