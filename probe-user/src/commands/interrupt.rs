//! Ctrl-C and SIGTERM, and the runtime in which a verb waits for them beside its work.

use std::{future::Future, time::Instant};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
};

use super::Outcome;
use crate::error::Failure;

/// Runs `verb` to its end on this thread.
pub(super) fn block_on(verb: impl Future<Output = Outcome>) -> Outcome {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}"), "see ulimit -a"))?;
    let outcome = runtime.block_on(verb);
    // A resolver that still waits for a name server must not hold the way out.
    runtime.shutdown_background();
    outcome
}

/// Ctrl-C and SIGTERM: from here on they are news for the verb, not its end.
pub(super) struct Interrupt {
    ctrl_c: Signal,
    terminate: Signal,
}

impl Interrupt {
    pub(super) fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::new(format!("cannot listen for Ctrl-C: {error}"), "see ulimit -n"))
        };
        Ok(Self { ctrl_c: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Returns once either has come.
    pub(super) async fn caught(&mut self) {
        tokio::select! {
            _ = self.ctrl_c.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Returns at `end`; never, where there is none.
pub(super) async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end.into()).await,
        None => std::future::pending().await,
    }
}
