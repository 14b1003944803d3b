//! A network namespace of a test's own, and `probe` in it. Nothing outlives the thread that has it.

use std::{
    os::unix::process::CommandExt,
    panic,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
};

use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use probe_user::lab::baseline;
use serde_json::Value;

use crate::common::{copy::Copy, is_root};

/// The user and group that have no privilege.
const NOBODY: u32 = 65_534;

/// The permanent neighbour behind `va`; its frames come out at `vb`.
pub(crate) const FAR4: &str = "10.9.0.2";
/// The same in IPv6.
pub(crate) const FAR6: &str = "fd09::2";

/// Runs `test` in a network namespace with only `lo`.
pub(crate) fn with_loopback(name: &str, test: impl FnOnce() + Send + 'static) {
    if !is_root(name) {
        return;
    }
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("root can");
        baseline::apply().expect("the settings can be written");
        sh("ip link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        panic::resume_unwind(panic);
    }
}

/// Runs `test` in a network namespace with `lo` and the pair `va` (`10.9.0.1`, `fd09::1`) and `vb` (no address).
pub(crate) fn with_veth(name: &str, test: impl FnOnce() + Send + 'static) {
    with_loopback(name, || {
        sh("ip link add name va type veth peer name vb && ip addr add 10.9.0.1/24 dev va");
        sh("ip -6 addr add fd09::1/64 dev va nodad && ip link set va up && ip link set vb up");
        sh("ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev va nud permanent");
        sh("ip -6 neigh replace fd09::2 lladdr 02:00:00:00:00:02 dev va nud permanent");
        test();
    });
}

/// Runs a shell line that must succeed, in the namespace of this thread.
pub(crate) fn sh(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().expect("sh is there");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// How a `probe` ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Its report, which must be one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The errno of all refused sends, and their number.
    pub(crate) fn refused(&self) -> (String, u64) {
        let json = self.json();
        let failed = json["failed"].as_array().expect("an array");
        assert_eq!(failed.len(), 1, "{self:?}");
        let field = |name: &str| failed[0][name].clone();
        (field("errno").as_str().expect("text").to_owned(), field("count").as_u64().expect("a number"))
    }
}

/// `probe send` with these words, and JSON as its report.
fn command(program: PathBuf, words: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("send").args(words.split(' ')).args(["--format", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `probe send WORDS --format json` in the namespace of this thread.
pub(crate) fn send(words: &str) -> Ran {
    Ran::new(command(PathBuf::from(env!("CARGO_BIN_EXE_probe")), words).output().expect("probe starts"))
}

/// Runs `probe send WORDS` for people.
pub(crate) fn send_text(words: &str) -> Ran {
    Ran::new(
        Command::new(env!("CARGO_BIN_EXE_probe")).arg("send").args(words.split(' ')).output().expect("probe starts"),
    )
}

/// Starts `probe send WORDS --format json`.
pub(crate) fn start(words: &str) -> Running {
    Running(Some(command(PathBuf::from(env!("CARGO_BIN_EXE_probe")), words).spawn().expect("probe starts")))
}

/// Runs `probe send WORDS --format json` as a user without any privilege.
pub(crate) fn send_unprivileged(words: &str) -> Ran {
    let copy = Copy::new();
    Ran::new(unprivileged(copy.binary(), words).output().expect("probe starts"))
}

fn unprivileged(program: PathBuf, words: &str) -> Command {
    let mut command = command(program, words);
    command.uid(NOBODY).gid(NOBODY);
    command
}

/// Keeps an unprivileged `probe` running while `test` runs.
pub(crate) fn beside_unprivileged(words: &str, test: impl FnOnce()) {
    let copy = Copy::new();
    let running = Running(Some(unprivileged(copy.binary(), words).spawn().expect("probe starts")));
    test();
    drop(running);
}

/// A `probe` that runs; it is killed where the test does not wait for it.
pub(crate) struct Running(Option<Child>);

impl Running {
    /// Sends it a signal and waits for its end.
    pub(crate) fn end_with(mut self, signal: Signal) -> Ran {
        let child = self.0.take().expect("it is taken only here and when dropped");
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("it is our child");
        Ran::new(child.wait_with_output().expect("it ends"))
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ran {
        Ran::new(self.0.take().expect("it is taken only here and when dropped").wait_with_output().expect("it ends"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Gone already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
