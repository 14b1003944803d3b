//! Ctrl-C, SIGTERM and SIGHUP, and the runtime in which a command waits for them beside its work.

use std::{future::Future, time::Instant};

use nix::libc;
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use super::CommandResult;
use crate::error::Failure;

/// Runs `verb` to its end on this thread.
pub(super) fn block_on(verb: impl Future<Output = CommandResult>) -> CommandResult {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}"), "check the limits: ulimit -a"))?;
    let outcome = runtime.block_on(verb);
    // A resolver that still waits for a name server must not delay the exit.
    runtime.shutdown_background();
    outcome
}

/// Ctrl-C, SIGTERM and SIGHUP, which no longer end the process by themselves.
pub(super) struct Interrupt {
    ctrl_c: Signal,
    terminate: Signal,
    /// `None` under `nohup`, which asks to survive the terminal.
    hang_up: Option<Signal>,
}

impl Interrupt {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(format!("cannot listen for Ctrl-C: {error}"), "see ulimit -n"))
        };
        let hang_up = (!is_ignored(libc::SIGHUP)).then(|| listen(SignalKind::hangup())).transpose()?;
        Ok(Self { ctrl_c: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())?, hang_up })
    }

    /// Waits until one of the signals has come.
    pub(super) async fn caught(&mut self) {
        let hung_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.ctrl_c.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hung_up => {}
        }
    }
}

/// Returns whether this process was started with that signal ignored.
pub(super) fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all zeros is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action the call only writes the present one, to memory that outlives it.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Returns at `end`, or never if that is `None`.
pub(super) async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}
