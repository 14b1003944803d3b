//! The line on stderr that says what is being waited for; only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Screen;
use crate::sighting::Sending;

/// How often the line moves, so that one sees that it lives.
const TICK: Duration = Duration::from_millis(120);

/// A line that is drawn over itself. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Nothing is drawn under `-q`, and where stderr is no terminal.
    pub(super) fn new(screen: &Screen) -> Self {
        let target =
            if screen.output.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(None, target);
        let frames = if screen.style.unicode { "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ " } else { "-\\|/ " };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style.tick_chars(frames));
        }
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// Says what is being done.
    pub(super) fn say(&self, what: String) {
        self.0.set_message(what);
    }

    /// Says how far the probes are.
    pub(super) fn count(&self, sending: &Sending, count: u16) {
        if !self.0.is_hidden() {
            let (sent, answered) = (sending.probes.len(), sending.received.len());
            self.say(format!("{sent} of {count} sent, {answered} answered; waiting for the rest"));
        }
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }

    /// Runs something that writes to stderr beside the line.
    pub(super) fn beside(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }
}
