//! `probe observe`.

mod watcher;

use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval_at};

use self::watcher::Watcher;
use super::{
    Outcome, Screen,
    interrupt::{Interrupt, block_on, until},
    terminal,
};
use crate::{
    cli::observe::Observe,
    exit::Exit,
    kernel::privilege::{self, Task},
    report::{Format, observation::Observation},
};

/// Runs `probe observe`.
pub fn run(args: &Observe, screen: &Screen) -> Outcome {
    privilege::require(Task::Observe)?;
    let watcher = Watcher::start(args)?;
    screen.remark(&watcher.greeting());
    block_on(watch(args, watcher, screen))
}

async fn watch(args: &Observe, mut watcher: Watcher, screen: &Screen) -> Outcome {
    let mut interrupt = Interrupt::new()?;
    let mut page = Page::new(args, screen);
    let length = args.duration.or(args.once.then_some(args.interval));
    let end = length.map(|length| Instant::now() + length);
    let mut ticks = interval_at(tokio::time::Instant::now() + args.interval, args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = interrupt.caught() => {
                page.show(watcher.look()?)?;
                return Ok(Exit::Interrupted);
            }
            () = until(end) => {
                page.show(watcher.look()?)?;
                return Ok(Exit::Done);
            }
            _ = ticks.tick() => {
                let observation = watcher.look()?;
                if !args.once {
                    page.show(observation)?;
                }
                watcher.check_interface()?;
            }
        }
    }
}

/// Where refreshes are shown: one over the other on a terminal, else one after the other.
struct Page<'a> {
    screen: &'a Screen,
    redraw: bool,
    lines: usize,
}

impl<'a> Page<'a> {
    fn new(args: &Observe, screen: &'a Screen) -> Self {
        let redraw = screen.output.format == Format::Text && terminal::is_terminal() && !args.once;
        Self { screen, redraw, lines: 0 }
    }

    fn show(&mut self, mut observation: Observation) -> Result<(), crate::error::Failure> {
        if self.redraw {
            // Heading, column names, two lines below the table, and the line of the cursor.
            observation.room = terminal::rows().map(|rows| rows.saturating_sub(5).max(1));
            if self.lines > 0 {
                self.screen.print_bytes(format!("\x1b[{}F\x1b[J", self.lines).as_bytes())?;
            }
        }
        self.lines = self.screen.print(&observation)?;
        Ok(())
    }
}

/// How long a watch must have lasted for its seconds to be told.
pub(super) fn seconds(length: Duration) -> f64 {
    (length.as_secs_f64() * 1000.0).round() / 1000.0
}
