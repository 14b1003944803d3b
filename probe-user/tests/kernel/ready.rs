//! Whether tests of the kernel programs can run here.

use std::io::{self, Write};

use probe_user::ebpf::object;

use crate::common::is_root;

/// Whether kernel programs can be loaded here. Where they cannot, says loudly that `test` is skipped.
pub(crate) fn ready(test: &str) -> bool {
    if object::bytes().is_err() {
        let _ = writeln!(io::stderr(), "SKIPPED (needs the kernel half): {test}");
        assert!(std::env::var_os("PROBE_NO_SKIP").is_none_or(|value| value != "1"), "{test} was skipped");
        return false;
    }
    is_root(test)
}
