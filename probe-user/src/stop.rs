//! A request to stop: made once, by a signal or by the end of an input, and seen by every waiter.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The longest that a waiter waits for anything else before it checks its [`StopSignal`] again.
pub const LOOK: Duration = Duration::from_millis(20);

/// A request to stop. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Asks everybody who has it to stop.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Reports whether a stop was requested.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
