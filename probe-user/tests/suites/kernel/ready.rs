//! Whether tests of the kernel programs can run here.

use probe_user::ebpf::object;

use crate::common::{is_root, skip};

/// Whether kernel programs can be loaded here. Where they cannot, says loudly that `test` is skipped.
pub(crate) fn ready(test: &str) -> bool {
    if object::bytes().is_err() {
        skip(test, "the kernel half");
        return false;
    }
    is_root(test)
}
