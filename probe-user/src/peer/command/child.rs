//! The command's processes: started in a session of their own, and always ended and reaped.

use std::{
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::Receiver,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::{Pid, setsid},
};

use super::{
    Relay, Trouble,
    peer_reader::{self, LastLines, PeerMessage},
    trouble::CommandExit,
};
use crate::{host::child::wait_while, stop::StopSignal};

/// How long a command may take to end by itself once its input is closed: an agent detaches in that time.
const GRACE: Duration = Duration::from_secs(3);

/// How long after SIGTERM it is killed.
const AFTER_TERM: Duration = Duration::from_millis(500);

/// How often to check whether it has ended.
const POLL: Duration = Duration::from_millis(2);

/// How often a waiting write checks whether it must stop.
const WRITE_LOOK_MS: u16 = 50;

/// A command under `sh -c`. Dropping it closes its input, ends all of its processes, and reaps it.
#[derive(Debug)]
pub(super) struct Shell {
    child: Child,
    stdin: Option<ChildStdin>,
    relay: Option<JoinHandle<()>>,
    stderr: LastLines,
    banner: LastLines,
}

impl Shell {
    /// Starts `sh -c line`.
    pub(super) fn start(line: &str, relay: Relay) -> Result<(Self, Receiver<PeerMessage>), Trouble> {
        let mut command = Command::new("sh");
        command.args(["-c", line]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: between fork and exec the closure makes one system call and touches no memory; turning an errno into
        // an io::Error does not allocate.
        unsafe {
            // In a session of its own, Ctrl-C at the terminal does not end the far end before it has reported what it saw,
            // and nothing can ask for a password where nobody would see the prompt.
            command.pre_exec(|| setsid().map(drop).map_err(io::Error::from));
        }
        let mut child = command.spawn().map_err(Trouble::NoShell)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (kept, banner) = (LastLines::default(), LastLines::default());
        let relay = stderr.map(|stderr| peer_reader::relay(stderr, kept.clone(), relay));
        let mut shell = Self { child, stdin: None, relay, stderr: kept, banner: banner.clone() };
        let messages = peer_reader::listen(stdout.expect("stdout is a pipe"), banner);
        let stdin = stdin.expect("stdin is a pipe");
        fcntl(stdin.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| Trouble::NoShell(errno.into()))?;
        shell.stdin = Some(stdin);
        Ok((shell, messages))
    }

    /// Writes all of `bytes` to the command's input before `until`.
    pub(super) fn write(&mut self, mut bytes: &[u8], until: Instant, stop: &StopSignal) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        while !bytes.is_empty() {
            match stdin.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if stop.asked() => return Err(io::ErrorKind::Interrupted.into()),
                Err(_) if Instant::now() > until => return Err(io::ErrorKind::TimedOut.into()),
                Err(_) => {
                    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLOUT)];
                    let _ = poll(&mut fds, PollTimeout::from(WRITE_LOOK_MS));
                }
            }
        }
        Ok(())
    }

    /// Closes its input, waits a while for its end, then ends it.
    pub(super) fn wait_for_end(&mut self) -> Option<ExitStatus> {
        self.stdin = None;
        let status = self.wait(Duration::from_millis(500)).or_else(|| self.end());
        self.wait_for_relay();
        status
    }

    /// Waits until its last output, which may still be in the pipe, was relayed. A process that outlives it and holds the pipe
    /// is not waited for.
    fn wait_for_relay(&self) {
        let until = Instant::now() + Duration::from_millis(200);
        while self.relay.as_ref().is_some_and(|relay| !relay.is_finished()) && Instant::now() < until {
            thread::sleep(POLL);
        }
    }

    /// Describes how it ended, for error messages.
    pub(super) fn last_words(&self, status: Option<ExitStatus>) -> CommandExit {
        const PASSWORD: [&str; 5] =
            ["permission denied (", "password", "passphrase", "host key verification failed", "a terminal is required"];
        CommandExit {
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            said: self.stderr.last().or_else(|| self.banner.last()),
            password: self.stderr.with(&PASSWORD),
        }
    }

    /// Returns the last line on its stderr.
    pub(super) fn last_line(&self) -> Option<String> {
        self.stderr.last()
    }

    /// Returns the last line on its stdout before a hello.
    pub(super) fn last_banner(&self) -> Option<String> {
        self.banner.last()
    }

    fn wait(&mut self, time: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + time;
        wait_while(&mut self.child, || Instant::now() < until).ok().flatten()
    }

    /// Ends every process of its session that is still in its process group.
    fn end(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        let until = Instant::now() + AFTER_TERM;
        while !self.has_ended() && Instant::now() < until {
            thread::sleep(POLL);
        }
        // Even if the shell has ended, a part of a pipeline may still run.
        self.signal(Signal::SIGKILL);
        self.child.wait().ok()
    }

    /// Reports whether it has ended, without reaping it.
    fn has_ended(&self) -> bool {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        !matches!(waitid(Id::Pid(pid), flags), Ok(WaitStatus::StillAlive))
    }

    /// Signals the process group. Only for a child that is not reaped yet: until then no other process or group has its
    /// number.
    fn signal(&self, signal: Signal) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        match killpg(group, signal) {
            // No process is left.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => tracing::debug!("cannot end the peer command: {errno}"),
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.stdin = None;
        if self.wait(GRACE).is_none() {
            self.end();
        }
        self.wait_for_relay();
    }
}
