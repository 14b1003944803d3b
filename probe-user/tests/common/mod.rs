//! What tests of several topics share.
#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::io::{self, Write};

/// Whether this process is root. Where it is not, says loudly that `test` is skipped; an error under `PROBE_NO_SKIP=1`.
pub(crate) fn is_root(test: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    skip(test, "root");
    false
}

/// Whether the kernel is one that has `what`, which came with Linux `since`. Where it is older, says loudly that `test` is
/// skipped; an error under `PROBE_NO_SKIP=1`.
pub(crate) fn has_linux(test: &str, since: (u32, u32), what: &str) -> bool {
    if is_linux(since) {
        return true;
    }
    skip(test, &format!("Linux {}.{}: {what}", since.0, since.1));
    false
}

/// Whether the kernel is this version or a later one.
pub(crate) fn is_linux(since: (u32, u32)) -> bool {
    let release = nix::sys::utsname::uname().expect("a kernel").release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().expect("a version"), numbers.next().expect("a version")) >= since
}

fn skip(test: &str, needs: &str) {
    // Unlike eprintln, which the test harness swallows.
    let _ = writeln!(io::stderr(), "SKIPPED (needs {needs}): {test}");
    assert!(std::env::var_os("PROBE_NO_SKIP").is_none_or(|value| value != "1"), "{test} was skipped");
}
