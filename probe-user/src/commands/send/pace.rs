//! When the next packet is due.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How far behind its times a sender may fall and still catch up; beyond that (it was stopped, or a packet had to
/// wait) it starts its times anew rather than send a burst.
const SLACK: Duration = Duration::from_millis(20);

/// The runtime's timers are no finer than this, so the last bit is slept by the thread.
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

    /// Returns once the next packet is due; always gives signals a chance.
    pub(super) async fn wait(&self) {
        let left = self.due.saturating_duration_since(Instant::now());
        if left > COARSE {
            tokio::time::sleep(left - COARSE).await;
        } else {
            tokio::task::yield_now().await;
        }
        thread::sleep(self.due.saturating_duration_since(Instant::now()));
    }

    /// A packet went out: the next one is an interval later.
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
