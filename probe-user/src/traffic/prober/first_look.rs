//! The first probe as a look ahead: where it shows that there is more to watch, it is no probe of the run.

use std::time::{Duration, Instant};

use super::{Prober, fate_known};
use crate::{model::trace::SenderTrace, stop::StopSignal};

/// The longest time between the first probe and the next for the sake of this look.
const LONGEST: Duration = Duration::from_millis(50);

/// How long nothing new may show up before the probe is taken to have gone wherever it goes on this kernel.
const QUIET: Duration = Duration::from_millis(10);

/// How often to look.
const OFTEN: Duration = Duration::from_millis(1);

/// What one look has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// How much there is to watch besides what is watched already; 0: nothing, so that the probe is one of the run.
    pub more: usize,
    /// Whether the probe is known to have ended.
    pub ended: bool,
}

impl Prober {
    /// Sends the first probe, and asks `look` what it meets until the next one is due, nothing more shows up, or it has
    /// ended. Returns whether it met anything: then it was sent ahead of the run, which begins with the probe of number 1.
    pub fn look_ahead(&mut self, stop: &StopSignal, mut look: impl FnMut(&SenderTrace) -> Met) -> bool {
        let begin = Instant::now();
        let pace = self.plan.interval.min(LONGEST);
        self.send_next();
        let (mut met, mut changed) = (Met::default(), begin);
        loop {
            self.read();
            let ended = self.sending.probes.first().is_some_and(|sent| fate_known(&self.sending, sent));
            let now = look(&self.sending);
            if now.more != met.more {
                changed = Instant::now();
            }
            met = now;
            let quiet = met.more > 0 && changed.elapsed() >= QUIET;
            if ended || met.ended || quiet || begin.elapsed() >= pace || stop.asked() {
                break;
            }
            self.reader.wait(self.sender.as_ref().ok(), OFTEN);
        }
        self.not_before = Some(begin + pace);
        if met.more > 0 && !stop.asked() {
            self.sending.probes.clear();
            self.sending.received.clear();
            self.sending.errors.clear();
            self.doubtful.clear();
            self.ahead = 1;
        }
        met.more > 0
    }
}
