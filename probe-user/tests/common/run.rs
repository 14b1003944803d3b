//! `probe` as a process: run to its end, or kept running while its output is read.
#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use probe_user::lab::Netns;
use serde_json::Value;

use super::net::PATIENCE;

/// How a `probe` ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit status, or 128 and the signal that ended it, as a shell has it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code().or_else(|| output.status.signal().map(|signal| 128 + signal));
        Self { code: code.expect("it ended"), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Its report as one document.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        self.documents().remove(0)
    }

    /// Each line of its report, which must be a document.
    pub(crate) fn documents(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The last document of its report.
    pub(crate) fn last(&self) -> Value {
        self.documents().pop().unwrap_or_else(|| panic!("nothing was printed: {self:?}"))
    }

    /// Asserts that it ended well, and gives itself.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// Whether a process has hold of a network namespace that is not this one's, as one with a lab has.
pub(crate) fn holds_a_namespace(pid: u32) -> bool {
    let Ok(ours) = fs::read_link("/proc/self/ns/net") else { return false };
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().filter_map(Result::ok);
    let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| target != ours && target.to_string_lossy().starts_with("net:["))
}

/// The last lines of `text`: the whole of it may be megabytes.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let last = lines
        .iter()
        .skip(lines.len().saturating_sub(5))
        .map(|line| line.chars().take(2_000).collect::<String>() + "\n");
    last.collect()
}

/// `probe WORDS` inside; words are separated by blanks.
pub(crate) fn command(netns: &Netns, words: &str) -> Command {
    let mut command = netns.command(env!("CARGO_BIN_EXE_probe"));
    command.args(words.split_whitespace()).stdin(Stdio::null()).env_remove("LANG").env_remove("LC_ALL");
    // Namespaces of tests stand for machines, unless a test is about namespaces.
    command.env("PROBE_OWN_NAMESPACE", "1");
    command
}

/// Runs `probe WORDS` inside to its end.
pub(crate) fn probe(netns: &Netns, words: &str) -> Ran {
    Ran::of(command(netns, words).output().expect("probe starts"))
}

/// A `probe` that runs; it is killed where the test does not wait for it.
pub(crate) struct Running {
    child: Child,
    stdout: Reader,
    stderr: Reader,
    over: bool,
}

/// What a pipe gave so far, and the thread that reads it.
struct Reader(Arc<Mutex<String>>, Option<JoinHandle<()>>);

impl Reader {
    fn new(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&text);
        let thread = thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = String::new();
            while pipe.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                shared.lock().expect("no reader panics").push_str(&line);
                line.clear();
            }
        });
        Self(text, Some(thread))
    }

    fn text(&self) -> String {
        self.0.lock().expect("no reader panics").clone()
    }

    fn rest(&mut self) -> String {
        if let Some(thread) = self.1.take() {
            thread.join().expect("no reader panics");
        }
        self.text()
    }
}

impl Running {
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("probe starts");
        let stdout = Reader::new(child.stdout.take().expect("a pipe"));
        let stderr = Reader::new(child.stderr.take().expect("a pipe"));
        Self { child, stdout, stderr, over: false }
    }

    /// Starts `probe WORDS` inside and waits until it is attached.
    pub(crate) fn start(netns: &Netns, words: &str) -> Self {
        let mut running = Self::of(command(netns, words));
        running.until("it is attached", |_, stderr| stderr.contains("Ctrl-C ends it"));
        running
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until its output so far, stdout and stderr, is as `holds` wants it; it must not end before.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&str, &str) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let over = self.child.try_wait().expect("it is our child");
            let (stdout, stderr) = if over.is_some() {
                (self.stdout.rest(), self.stderr.rest())
            } else {
                (self.stdout.text(), self.stderr.text())
            };
            if holds(&stdout, &stderr) {
                return;
            }
            let said = format!("{}{}", tail(&stdout), tail(&stderr));
            assert!(over.is_none(), "it ended ({over:?}) before {what}: {said}");
            assert!(Instant::now() < end, "in vain waited for: {what}: {said}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until its last JSON document is as `holds` wants it.
    pub(crate) fn until_last(&mut self, what: &str, mut holds: impl FnMut(&Value) -> bool) {
        self.until(what, |stdout, _| {
            let complete = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
            let last = complete.lines().next_back().and_then(|line| serde_json::from_str(line).ok());
            last.is_some_and(|document| holds(&document))
        });
    }

    /// Types into it; its stdin must be a pipe.
    pub(crate) fn type_in(&mut self, keys: &[u8]) {
        self.child.stdin.as_mut().expect("a pipe").write_all(keys).expect("it reads");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it is our child");
    }

    /// Sends it a signal and waits for its end.
    pub(crate) fn end_with(self, signal: Signal) -> Ran {
        self.signal(signal);
        self.wait()
    }

    /// Waits for its end, which must come.
    pub(crate) fn wait(mut self) -> Ran {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(
                Instant::now() < end,
                "it does not end: {}{}",
                tail(&self.stdout.text()),
                tail(&self.stderr.text())
            );
            thread::sleep(Duration::from_millis(10));
        };
        self.over = true;
        let (stdout, stderr) = (self.stdout.rest().into_bytes(), self.stderr.rest().into_bytes());
        Ran::of(Output { status, stdout, stderr })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            // Gone already is as good.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
