//! Signals that a person ends a command with wait while something is changed that must be whole or gone: the standing
//! lab, or the rules of a filter.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Holds Ctrl-C and its like back from this thread and those that it starts, until it is dropped.
pub(crate) struct Held {
    before: Option<SigSet>,
}

impl Held {
    /// From now on.
    pub(crate) fn new() -> Self {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        // If they cannot be held back, an interrupted change is mended by the next command, as after a kill.
        Self { before: signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // The mask was this thread's own a moment ago: setting it again cannot fail.
            let _ = before.thread_set_mask();
        }
    }
}
