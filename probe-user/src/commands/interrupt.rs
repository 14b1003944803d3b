//! Ctrl-C, SIGTERM and a terminal that is closed, and the runtime in which a verb waits for them beside its work.

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
        .map_err(|error| Failure::new(format!("cannot start: {error}"), "see ulimit -a"))?;
    let outcome = runtime.block_on(verb);
    // A resolver that still waits for a name server must not hold the way out.
    runtime.shutdown_background();
    outcome
}

/// Ctrl-C, SIGTERM and SIGHUP: from here on they are news for the verb, not its end.
pub(super) struct Interrupt {
    ctrl_c: Signal,
    terminate: Signal,
    /// Not there under `nohup`, which asks for life beyond the terminal.
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

    /// Returns once one of them has come.
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

/// Whether this process was started with that signal ignored.
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: all zeros is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action the call only writes the present one, to memory that outlives it.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Returns at `end`; never, where there is none.
pub(super) async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}
