//! What tests of several topics share.

use std::io::{self, Write};

/// Whether this process is root. Where it is not, says loudly that `test` is skipped; an error under `PROBE_NO_SKIP=1`.
pub(crate) fn is_root(test: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    // Unlike eprintln, which the test harness swallows.
    let _ = writeln!(io::stderr(), "SKIPPED (needs root): {test}");
    assert!(std::env::var_os("PROBE_NO_SKIP").is_none_or(|value| value != "1"), "{test} was skipped");
    false
}
