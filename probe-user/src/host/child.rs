//! A child process that is waited for no longer than its caller says, while its output is read.

use std::{
    io::{self, Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long to sleep before the first check whether it has ended, and at most before a later one.
const FIRST_POLL: Duration = Duration::from_millis(1);
const LAST_POLL: Duration = Duration::from_millis(16);

/// How a program ended, and what it printed.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

/// A child that has its input and whose output is read on other threads, so that it waits for no full pipe.
#[derive(Debug)]
pub struct RunningChild {
    child: Child,
    input: JoinHandle<io::Result<()>>,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

impl RunningChild {
    /// Starts `command` with `input` on its standard input.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &mut Command, input: &[u8]) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = reader(child.stdout.take().expect("stdout is a pipe"));
        let stderr = reader(child.stderr.take().expect("stderr is a pipe"));
        let bytes = input.to_vec();
        let input = thread::spawn(move || stdin.write_all(&bytes));
        Ok(Self { child, input, stdout, stderr })
    }

    /// Waits for its end while `go_on`; returns whether it has ended.
    ///
    /// # Errors
    /// That of waitpid(2).
    pub fn wait_while(&mut self, go_on: impl Fn() -> bool) -> io::Result<bool> {
        wait_while(&mut self.child, go_on).map(|status| status.is_some())
    }

    /// Asks it to end, with SIGTERM.
    pub fn terminate(&self) {
        // It is our child, and not waited for yet: the number is still its own.
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
    }

    /// Kills it, if it has not ended yet.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits for its end, and returns what it printed.
    ///
    /// # Errors
    /// That of waitpid(2), and why a program that succeeded did not get all of its input. One that fails says more
    /// itself than a broken pipe does.
    pub fn finish(mut self) -> io::Result<Finished> {
        let status = self.child.wait()?;
        let (stdout, stderr) = (self.stdout.join().unwrap_or_default(), self.stderr.join().unwrap_or_default());
        let written = self.input.join().unwrap_or(Ok(()));
        if status.success() {
            written.map(|()| Finished { status, stdout, stderr })
        } else {
            Ok(Finished { status, stdout, stderr })
        }
    }
}

/// Runs `command` with `input` to its end, and kills it after `limit`.
///
/// # Errors
/// It cannot be started; `TimedOut` if it did not end in time.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> io::Result<Finished> {
    let deadline = Instant::now() + limit;
    let mut running = RunningChild::start(command, input)?;
    let ended = running.wait_while(|| Instant::now() < deadline)?;
    if !ended {
        running.kill();
    }
    let finished = running.finish()?;
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("it did not end within {} s", limit.as_secs()));
    ended.then_some(finished).ok_or_else(late)
}

/// Waits for the end of `child` while `go_on`; `None` if it still runs.
///
/// # Errors
/// That of waitpid(2).
pub fn wait_while(child: &mut Child, go_on: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    let mut poll = FIRST_POLL;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if !go_on() {
            return Ok(None);
        }
        thread::sleep(poll);
        poll = (poll * 2).min(LAST_POLL);
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error still counts; the exit status says whether it was complete.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_its_input_and_all_that_it_prints_is_read() {
        let text = "0123456789".repeat(100_000);
        let finished = run(&mut Command::new("cat"), text.as_bytes(), Duration::from_secs(30)).expect("it ends");
        assert!(finished.status.success() && finished.stdout == text && finished.stderr.is_empty());
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let error = run(Command::new("sleep").arg("600"), b"", Duration::from_millis(20)).expect_err("it sleeps");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_program_that_reads_nothing_and_fails_is_told_by_its_status() {
        let much = vec![0; 1 << 20];
        let finished = run(&mut Command::new("false"), &much, Duration::from_secs(30)).expect("it ends");
        assert_eq!(finished.status.code(), Some(1));
    }
}
