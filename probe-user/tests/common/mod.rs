//! What tests of several topics share.
#![allow(dead_code, reason = "each test program uses its part of it")]

pub(crate) mod copy;
pub(crate) mod fixture;
pub(crate) mod net;
pub(crate) mod played;
pub(crate) mod run;
pub(crate) mod tun;
pub(crate) mod validator;

use std::{
    env,
    io::{self, Write},
    process::Command,
};

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

/// Says loudly that `test` is skipped for want of what it `needs`.
///
/// # Panics
/// Under `PROBE_NO_SKIP=1`.
pub(crate) fn skip(test: &str, needs: &str) {
    // Unlike eprintln, which the test harness swallows.
    let _ = writeln!(io::stderr(), "SKIPPED (needs {needs}): {test}");
    assert!(env::var_os("PROBE_NO_SKIP").is_none_or(|value| value != "1"), "{test} was skipped");
}

/// What tells this program, started again, that it runs one test only.
const ALONE: &str = "PROBE_TEST_ALONE";

/// Whether this process runs nothing but `test`, which is named with its modules. Where other tests run beside it, runs
/// it in a process of its own, which must pass.
pub(crate) fn alone(test: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let mut again = Command::new(env::current_exe().expect("this program"));
    let output = again.args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().expect("it starts again");
    let said = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{told}");
    false
}
