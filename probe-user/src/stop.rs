//! A request to stop: set once, by a signal or by the end of an input, and seen by whoever waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long those who heed a [`StopSignal`] wait for anything else at most before they look at it again.
pub const LOOK: Duration = Duration::from_millis(20);

/// A request to stop. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Asks everybody who has it to stop.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was asked for.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
