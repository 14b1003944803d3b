//! Ctrl-C and SIGTERM for commands that wait without a runtime.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use super::interrupt::Interrupt;
use crate::{error::Failure, stop::StopSignal};

/// A [`StopSignal`] that signals ask for, and whether one did.
#[derive(Clone, Debug)]
pub(super) struct Signalled {
    stop: StopSignal,
    by_signal: Arc<AtomicBool>,
}

impl Signalled {
    /// Returns whether a signal has come.
    pub(super) fn by_signal(&self) -> bool {
        self.by_signal.load(Ordering::Acquire)
    }
}

impl std::ops::Deref for Signalled {
    type Target = StopSignal;

    fn deref(&self) -> &StopSignal {
        &self.stop
    }
}

/// Makes Ctrl-C and SIGTERM ask for a stop instead of ending the process. A second signal ends it.
pub(super) fn on_signals() -> Result<Signalled, Failure> {
    let signalled = Signalled { stop: StopSignal::default(), by_signal: Arc::default() };
    let (ready, listening) = mpsc::channel();
    let handler = signalled.clone();
    thread::spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(Failure::new(format!("cannot listen for Ctrl-C: {error}"), "see ulimit -n")));
                return;
            }
        };
        runtime.block_on(async {
            let mut interrupt = match Interrupt::new() {
                Ok(interrupt) => interrupt,
                Err(failure) => {
                    let _ = ready.send(Err(failure));
                    return;
                }
            };
            let _ = ready.send(Ok(()));
            interrupt.caught().await;
            handler.by_signal.store(true, Ordering::Release);
            handler.stop.ask();
            // A user who asks twice does not want to wait for the verdict.
            interrupt.caught().await;
            std::process::exit(crate::exit::Exit::Interrupted.code().into());
        });
    });
    match listening.recv() {
        Ok(result) => result.map(|()| signalled),
        Err(_) => Err(Failure::new("cannot listen for Ctrl-C", "check the limit on processes: ulimit -u")),
    }
}
