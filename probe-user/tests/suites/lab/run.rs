//! A `/run` of its own for the thread of a test, so that the lab's fixed names meet no one else's.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Output},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::common::{self, copy::Copy};

/// Whether the test can run: as root. It then has a `/run` of its own.
pub(crate) fn ready(test: &str) -> bool {
    let root = common::is_root(test);
    if root {
        private();
    }
    root
}

/// Gives this thread, and what it starts, a mount namespace with an empty `/run`.
fn private() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("private mounts");
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).expect("an empty /run");
}

/// The `probe` binary with these words.
pub(crate) fn probe(words: &[&str]) -> Command {
    with_words(Command::new(env!("CARGO_BIN_EXE_probe")), words)
}

fn with_words(mut command: Command, words: &[&str]) -> Command {
    command.args(words).env_remove("LANG").env_remove("LC_ALL");
    command
}

/// What `probe` with these words printed, and how it ended.
pub(crate) fn output(words: &[&str]) -> Output {
    probe(words).output().expect("probe runs")
}

/// Asserts that `probe` ends with `status`, and gives its stdout and stderr together.
pub(crate) fn expect(words: &[&str], status: i32) -> String {
    let output = output(words);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{words:?}: {text}");
    text
}

/// Asserts that the lab left nothing below `/run`.
pub(crate) fn expect_bare() {
    for path in ["/run/netns", "/run/probe"] {
        assert!(!Path::new(path).exists(), "{path} is left");
    }
}

/// A command that runs as nobody.
pub(crate) fn as_nobody(words: &[&str]) -> Output {
    let copy = Copy::new();
    with_words(Command::new(copy.binary()), words).uid(65534).gid(65534).output().expect("probe runs")
}
