//! The line on stderr that says what is being waited for; only on a terminal.

use std::{io::Write, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Screen;
use crate::{harmless, model::trace::SenderTrace};

/// How often the line moves, to show that the run is alive.
const TICK: Duration = Duration::from_millis(120);

/// A line that is drawn over itself. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct ProgressLine {
    bar: ProgressBar,
    quiet: bool,
}

impl ProgressLine {
    /// Returns a progress line, which draws nothing under `-q` and where stderr is no terminal.
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
        Self { bar, quiet: screen.output.quiet }
    }

    /// Says what is being done.
    pub(super) fn say(&self, what: &str) {
        self.bar.set_message(harmless::line(what).into_owned());
    }

    /// Shows how many probes were sent and answered.
    pub(super) fn count(&self, sending: &SenderTrace, count: u16) {
        if !self.bar.is_hidden() {
            let (sent, answered) = (sending.probes.len(), sending.received.len());
            self.say(&format!("{sent} of {count} sent, {answered} answered; waiting for the rest"));
        }
    }

    /// Removes the line.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Passes on a line that the far end printed; not under `-q`.
    pub(super) fn relay(&self, line: &str) {
        self.relay_of("peer", line);
    }

    /// Relays a line of another host; `who` names the host in a word.
    pub(super) fn relay_of(&self, who: &str, line: &str) {
        if !self.quiet {
            self.write(&format!("{who}: {line}"));
        }
    }

    /// Prints something that one must know to read the verdict.
    pub(super) fn warn(&self, text: &str) {
        self.write(&format!("probe: {text}"));
    }

    fn write(&self, line: &str) {
        // A stderr that nobody reads is no reason to stop.
        self.bar.suspend(|| drop(writeln!(std::io::stderr(), "{}", harmless::line(line))));
    }
}
