//! Delays the signals by which a user ends a command while it changes something that must be complete or gone: the
//! standing lab, or the rules of a filter.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// Blocks Ctrl-C and similar signals in this thread and those that it starts, until it is dropped.
pub(crate) struct Held {
    before: Option<SigSet>,
}

impl Held {
    /// Blocks the signals from now on.
    pub(crate) fn new() -> Self {
        let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        // If they cannot be blocked, an interrupted change is repaired by the next command, as after a kill.
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
