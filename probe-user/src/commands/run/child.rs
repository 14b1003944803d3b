//! The command that `probe run` runs: found, started as it was typed, and waited for.

use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt,
    process::{self, ExitStatus},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::{commands::Screen, error::Failure, exit::Exit};

/// The exit statuses of a shell for a command that is not there, and for one that cannot be executed.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// What a shell adds to the number of the signal that ended a command.
const BY_SIGNAL: i32 = 128;

/// A command as it was typed.
pub(super) struct TypedCommand(process::Command, OsString);

/// Why it could not be started.
pub(super) struct NotStarted {
    name: OsString,
    error: io::Error,
}

/// The command, running.
pub(super) struct Child {
    pid: u32,
    waiting: Receiver<io::Result<ExitStatus>>,
    known: Option<io::Result<ExitStatus>>,
}

impl TypedCommand {
    /// Takes the words of a command.
    ///
    /// # Errors
    /// Where there are none.
    pub(super) fn find(words: &[OsString]) -> Result<Self, Failure> {
        let mut words = words.iter();
        let name = words.next().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Failure::new("no command was given", "probe run ping b.example"))?;
        let mut command = process::Command::new(name);
        command.args(words);
        Ok(Self(command, name.clone()))
    }

    /// Starts it with the input, output and environment of this process.
    pub(super) fn start(self) -> Result<Child, NotStarted> {
        let Self(mut command, name) = self;
        let mut child = command.spawn().map_err(|error| NotStarted { name, error })?;
        let (done, waiting) = mpsc::channel();
        let pid = child.id();
        thread::spawn(move || drop(done.send(child.wait())));
        Ok(Child { pid, waiting, known: None })
    }
}

impl NotStarted {
    /// Says why in one sentence; returns the exit status that a shell has for it.
    pub(super) fn told(&self, screen: &Screen) -> Exit {
        let name = self.name.to_string_lossy();
        let (failure, status) = match self.error.kind() {
            io::ErrorKind::NotFound => {
                (Failure::new(format!("there is no command '{name}'"), "check its spelling and PATH"), NOT_FOUND)
            }
            _ => {
                let why = format!("the command '{name}' cannot be executed: {}", self.error);
                (Failure::new(why, format!("ls -l \"$(command -v {name})\"")), NOT_EXECUTABLE)
            }
        };
        crate::commands::fail(screen.output.format, &failure);
        Exit::Command(status)
    }
}

impl Child {
    /// Returns its process.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it has ended, but no longer than `time`.
    pub(super) fn wait(&mut self, time: Duration) {
        if self.known.is_none() {
            self.known = match self.waiting.recv_timeout(time) {
                Ok(status) => Some(status),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Err(io::ErrorKind::BrokenPipe.into())),
            };
        }
    }

    /// Returns the exit status that a shell has for it, once it has ended.
    ///
    /// # Errors
    /// Those of wait(2).
    pub(super) fn ended(&mut self) -> Result<Option<u8>, Failure> {
        self.wait(Duration::ZERO);
        match &self.known {
            None => Ok(None),
            Some(Ok(status)) => Ok(Some(as_a_shell(*status))),
            Some(Err(error)) => {
                Err(Failure::new(format!("cannot learn how the command ended: {error}"), "run it by itself"))
            }
        }
    }
}

fn as_a_shell(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| BY_SIGNAL + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_a_signal_ended_has_the_status_that_a_shell_gives_it() {
        assert_eq!(as_a_shell(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(as_a_shell(ExitStatus::from_raw(15)), 143);
    }
}
