//! When the next packet is due.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How far a sender may fall behind its schedule and still catch up. Beyond that (it was stopped, or a packet had to
/// wait) the schedule restarts, so that there is no burst.
const SLACK: Duration = Duration::from_millis(20);

/// The resolution of the runtime's timers; the thread sleeps for the rest itself.
const COARSE: Duration = Duration::from_millis(2);

/// Packets at an interval, the first at once.
pub(super) struct Pace {
    interval: Duration,
    due: Instant,
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, due: Instant::now() }
    }

    /// Waits until the next packet is due; always gives signals a chance.
    pub(super) async fn wait(&self) {
        let left = self.due.saturating_duration_since(Instant::now());
        if left > COARSE {
            tokio::time::sleep(left - COARSE).await;
        } else {
            tokio::task::yield_now().await;
        }
        thread::sleep(self.due.saturating_duration_since(Instant::now()));
    }

    /// Records that a packet was sent: the next one is due an interval later.
    pub(super) fn sent(&mut self) {
        self.due = next(self.due, self.interval, Instant::now());
    }
}

fn next(due: Instant, interval: Duration, now: Instant) -> Instant {
    let next = due + interval;
    if now.saturating_duration_since(next) > SLACK { now } else { next }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn times_do_not_drift() {
        let start = Instant::now();
        assert_eq!(next(start, 100 * MS, start + MS), start + 100 * MS);
        assert_eq!(next(start, MS, start + 5 * MS), start + MS);
    }

    #[test]
    fn a_long_stop_is_not_followed_by_a_burst() {
        let start = Instant::now();
        let now = start + 60_000 * MS;
        assert_eq!(next(start, 100 * MS, now), now);
    }
}
