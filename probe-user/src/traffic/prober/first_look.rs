//! The first probe as a look ahead: if it shows that there is more to watch, it does not belong to the run, which
//! begins anew.

use std::time::{Duration, Instant};

use probe_ebpf::{Echo, journey::MARK_BYTES};

use super::{Prober, fate_known};
use crate::{
    model::trace::{SenderTrace, UnansweredAhead},
    stop::StopSignal,
};

/// The longest time that this look puts between the first probe and the next.
const LONGEST: Duration = Duration::from_millis(50);

/// How long nothing new may show up before the probe is taken to have gone wherever it goes on this kernel.
const QUIET: Duration = Duration::from_millis(10);

/// The time between two looks.
const OFTEN: Duration = Duration::from_millis(1);

/// The probe that was sent to look ahead. Its mark has a number after those of the run, its packet the sequence number
/// of the first: whoever looks at that number sees what it would see of `ping`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AheadProbe {
    /// None was sent.
    #[default]
    None,
    /// It is the first probe of the run, and hops note it with this number.
    First(u16),
    /// It does not belong to the run.
    Apart(u16),
}

impl AheadProbe {
    /// Returns which probe of the run has `noted` for its number in marks and where hops note it; `None`: none has.
    pub fn number(self, noted: u16) -> Option<u16> {
        match self {
            Self::First(number) if noted == number => Some(0),
            Self::Apart(number) if noted == number => None,
            Self::None | Self::First(_) | Self::Apart(_) => Some(noted),
        }
    }

    /// Returns the number in the mark of a probe of the run.
    pub(super) fn noted(self, probe: u16) -> u16 {
        match (self, probe) {
            (Self::First(number), 0) => number,
            _ => probe,
        }
    }
}

/// What one look has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// How much there is to watch besides what is already watched; 0: nothing, so the probe belongs to the run.
    pub more: usize,
    /// Whether the probe is known to have ended.
    pub ended: bool,
}

impl Prober {
    /// Sends the first probe, and asks `look` what it meets until the next one is due, nothing more shows up, or it has
    /// ended. If it met anything, the run begins after it.
    pub fn look_ahead(&mut self, stop: &StopSignal, mut look: impl FnMut(&SenderTrace) -> Sighting) {
        let begin = Instant::now();
        let pace = self.plan.interval.min(LONGEST);
        self.ahead = AheadProbe::First(self.plan.count);
        self.send_next();
        let (mut met, mut changed) = (Sighting::default(), begin);
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
        // With an error that ends the run, it is all of it.
        if met.more > 0 && self.next().is_some() && !stop.asked() {
            let replies = self.plan.settings.echo == Echo::Request;
            let error = self.sending.errors.iter().find(|error| error.ends_packet()).cloned();
            // Without a mark a reply that comes later is not known for its own.
            let knowable = error.is_some() || usize::from(self.plan.size) >= MARK_BYTES;
            let unanswered = replies && knowable && self.sending.received.is_empty();
            self.sending.unanswered_ahead = unanswered.then_some(UnansweredAhead { error });
            self.sending.probes.clear();
            self.sending.received.clear();
            self.sending.errors.clear();
            self.doubtful.clear();
            self.ahead = AheadProbe::Apart(self.plan.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_ahead_is_the_first_of_the_run_or_none_of_it() {
        let numbers = |ahead: AheadProbe| [0, 1, 10].map(|noted| ahead.number(noted));
        assert_eq!(numbers(AheadProbe::None), [Some(0), Some(1), Some(10)]);
        // If probes are known by sequence numbers alone, it is the first as well.
        assert_eq!(numbers(AheadProbe::First(10)), [Some(0), Some(1), Some(0)]);
        assert_eq!(numbers(AheadProbe::Apart(10)), [Some(0), Some(1), None]);
        assert_eq!([0, 1].map(|probe| AheadProbe::First(10).noted(probe)), [10, 1]);
        assert_eq!([0, 1].map(|probe| AheadProbe::Apart(10).noted(probe)), [0, 1]);
    }
}
