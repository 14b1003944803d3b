//! Signals while a command runs under `probe run`: they are meant for the command. Those from the terminal have reached
//! it already; those that were sent to this process alone are passed on.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
        mpsc,
    },
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, getpgrp, tcgetpgrp},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{commands::interrupt::is_ignored, error::Failure, stop::StopSignal};

/// The signals that end a command, except those that were ignored when this process was started.
const WATCHED: [Signal; 4] = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP];

/// No command runs, or it has ended.
const NOBODY: i32 = 0;

/// The signals that came.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    command: Arc<AtomicI32>,
    came: Arc<AtomicBool>,
    kept: Arc<AtomicBool>,
    stop: StopSignal,
}

impl Signals {
    /// Listens from now on: none of them ends this process any more, except a second one that no command takes.
    ///
    /// # Errors
    /// No thread or no descriptor is left.
    pub(super) fn listen() -> Result<Self, Failure> {
        let signals = Self::default();
        let (ready, listening) = mpsc::channel();
        let own = signals.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let refused =
                |error: std::io::Error| Failure::new(format!("cannot listen for signals: {error}"), "see ulimit -a");
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(refused(error)))),
            };
            runtime.block_on(async {
                let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
                for which in WATCHED.into_iter().filter(|which| !is_ignored(*which as i32)) {
                    let mut stream = match signal(SignalKind::from_raw(which as i32)) {
                        Ok(stream) => stream,
                        Err(error) => return drop(ready.send(Err(refused(error)))),
                    };
                    let tell = tell.clone();
                    tokio::spawn(async move {
                        while stream.recv().await.is_some() {
                            let _ = tell.send(which);
                        }
                    });
                }
                let _ = ready.send(Ok(()));
                while let Some(which) = told.recv().await {
                    own.take(which);
                }
            });
        });
        match listening.recv() {
            Ok(result) => result.map(|()| signals),
            Err(_) => Err(Failure::new("cannot listen for signals", "check the limit on processes: ulimit -u")),
        }
    }

    fn take(&self, which: Signal) {
        let again = self.came.swap(true, Ordering::AcqRel);
        let command = self.command.load(Ordering::Acquire);
        if command != NOBODY {
            if !(matches!(which, Signal::SIGINT | Signal::SIGQUIT) && is_in_foreground()) {
                // One that has just ended needs no signal.
                let _ = kill(Pid::from_raw(command), which);
            }
        } else if again && !self.kept.load(Ordering::Acquire) || self.stop.asked() {
            // Whoever asks twice does not want to wait for the verdict.
            std::process::exit(crate::exit::Exit::Interrupted.code().into());
        } else {
            self.stop.ask();
        }
    }

    /// Passes signals on to this process from now on.
    pub(super) fn pass_on_to(&self, pid: u32) {
        self.command.store(i32::try_from(pid).unwrap_or(NOBODY), Ordering::Release);
    }

    /// Notes that the command has ended: signals that came were its own, and from now on they cut the waiting for
    /// replies short.
    pub(super) fn keep(&self) {
        self.command.store(NOBODY, Ordering::Release);
        self.kept.store(true, Ordering::Release);
    }

    /// Reports whether one has come.
    pub(super) fn came(&self) -> bool {
        self.came.load(Ordering::Acquire)
    }

    /// Returns the request to stop that a signal makes when no command is there to take it.
    pub(super) fn stop(&self) -> &StopSignal {
        &self.stop
    }
}

/// Reports whether the terminal sends its signals to this process's group, which the command is in.
fn is_in_foreground() -> bool {
    File::open("/dev/tty").is_ok_and(|terminal| tcgetpgrp(&terminal) == Ok(getpgrp()))
}
