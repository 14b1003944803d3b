//! A progress bar on stderr with the time left, for tasks of known length; only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Screen;
use crate::harmless;

/// A progress bar that is redrawn in place.
#[derive(Clone, Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// Creates a bar for something that takes `length`. Nothing is drawn with `-q`, or if stderr is no terminal.
    pub(super) fn new(screen: &Screen, length: Duration) -> Self {
        let target =
            if screen.output.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
        let bar = ProgressBar::with_draw_target(Some(milliseconds(length)), target);
        let signs = if screen.style.unicode { "━╸ " } else { "=> " };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {prefix} left  {msg}") {
            bar.set_style(style.progress_chars(signs));
        }
        Self(bar)
    }

    /// Updates the bar and its length, if the length is not known from the start.
    pub(super) fn of(&self, (passed, length, doing): &(Duration, Duration, String)) {
        self.0.set_length(milliseconds(*length));
        self.at(*passed, doing);
    }

    /// Moves the bar to `passed`, and names what is being done.
    pub(super) fn at(&self, passed: Duration, doing: &str) {
        if self.0.is_hidden() {
            return;
        }
        let left = Duration::from_millis(self.0.length().unwrap_or(0)).saturating_sub(passed);
        self.0.set_prefix(format!("{} s", left.as_secs()));
        self.0.set_message(harmless::line(doing).into_owned());
        self.0.set_position(milliseconds(passed));
    }

    /// Removes the bar.
    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
