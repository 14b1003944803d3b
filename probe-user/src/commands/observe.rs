//! `probe observe`.

mod watcher;

use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval_at};

use self::watcher::Watcher;
use super::{
    CommandResult, Screen,
    interrupt::{Interrupt, block_on, until},
    place, terminal,
};
use crate::{
    cli::observe::Observe,
    error::Failure,
    exit::Exit,
    host::privilege::{self, PrivilegedTask},
    report::{
        Format,
        observation::{Observation, Room},
    },
};

/// Runs `probe observe`.
pub fn run(args: &Observe, screen: &Screen) -> CommandResult {
    place::enter(&args.place)?;
    privilege::require(PrivilegedTask::Observe)?;
    block_on(watch(args, screen))
}

async fn watch(args: &Observe, screen: &Screen) -> CommandResult {
    // Before anything is attached, so that no signal ends this process with something left behind.
    let mut interrupt = Interrupt::new()?;
    let mut watcher = Watcher::start(args, screen)?;
    screen.remark(&watcher.greeting());
    let mut page = Page::new(args, screen);
    let length = args.duration.or(args.once.then_some(args.interval));
    let end = length.map(|length| Instant::now() + length);
    let mut ticks = interval_at(tokio::time::Instant::now() + args.interval, args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut checks = interval_at(tokio::time::Instant::now() + CHECK, CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let exit = loop {
        tokio::select! {
            biased;
            () = interrupt.caught() => break Ok(Exit::Interrupted),
            () = until(end) => break Ok(Exit::Done),
            _ = checks.tick() => {
                watcher.flush_log();
                if let Err(gone) = watcher.check_interface() {
                    break Err(gone);
                }
            }
            _ = ticks.tick() => {
                let observation = watcher.look()?;
                if !args.once {
                    page.show(observation)?;
                }
            }
        }
        if screen.is_unread() {
            return Ok(Exit::Done);
        }
    };
    page.show(watcher.look()?)?;
    let exit = exit?;
    watcher.check_interface()?;
    Ok(exit)
}

/// How long an interface can be gone before that is reported.
const CHECK: Duration = Duration::from_millis(200);

/// Where refreshes are shown: one over the other on a terminal, else one after the other.
struct Page<'a> {
    screen: &'a Screen,
    redraw: bool,
    /// The lines of the last refresh, by their width.
    shown: Vec<usize>,
}

impl<'a> Page<'a> {
    fn new(args: &Observe, screen: &'a Screen) -> Self {
        let on_terminal = screen.output.format == Format::Text && terminal::is_terminal();
        // A log between the refreshes moves them.
        let redraw = on_terminal && !args.once && screen.output.verbose == 0;
        Self { screen, redraw, shown: Vec::new() }
    }

    fn show(&mut self, mut observation: Observation) -> Result<(), Failure> {
        let columns = terminal::columns();
        observation.room = columns.map(|columns| Room { ids: self.ids(), columns });
        let text = self.screen.written(&observation)?;
        let mut bytes = Vec::new();
        if self.redraw {
            let up = rows(&self.shown, columns.unwrap_or(usize::MAX));
            if up > 0 {
                bytes.extend(format!("\x1b[{up}F\x1b[J").bytes());
            }
            self.shown = widths(&String::from_utf8_lossy(&text));
        }
        bytes.extend(text);
        self.screen.print_bytes(&bytes)
    }

    /// Returns how many ids fit on the screen; all of them if the output scrolls.
    fn ids(&self) -> usize {
        // Heading, column names, two lines below the table, and the line of the cursor.
        let fitting = terminal::rows().map(|rows| rows.saturating_sub(5).max(1));
        fitting.filter(|_| self.redraw).unwrap_or(usize::MAX)
    }
}

/// Returns how many columns each line of `text` takes, not counting colour codes.
fn widths(text: &str) -> Vec<usize> {
    let width = |line: &str| {
        let mut parts = line.split("\x1b[");
        let plain = parts.next().unwrap_or_default().chars().count();
        let coloured = parts.filter_map(|part| part.split_once('m')).map(|(_, rest)| rest.chars().count());
        plain + coloured.sum::<usize>()
    };
    text.lines().map(width).collect()
}

/// Returns how many rows lines of these widths take on a terminal, which may have become narrower since.
fn rows(widths: &[usize], columns: usize) -> usize {
    widths.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum()
}

/// Rounds how long a watch lasted to the seconds that are printed.
pub(super) fn seconds(length: Duration) -> f64 {
    (length.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_no_columns() {
        assert_eq!(widths("plain\n\x1b[1mhead\x1b[0m of\n\n"), [5, 7, 0]);
    }

    #[test]
    fn a_line_takes_more_rows_once_the_terminal_is_narrower() {
        assert_eq!(rows(&[80, 0, 10], 80), 3);
        assert_eq!(rows(&[80, 0, 10], 40), 4);
        assert_eq!(rows(&[], 0), 0);
    }
}
