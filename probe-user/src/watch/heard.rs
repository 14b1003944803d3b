//! ICMP errors about a run's packets, as they come to the host that is watched: those about replies are sent to the far end alone.

use std::collections::BTreeSet;

use crate::{
    host::or_log,
    model::{
        request::{RequestHandling, WatchRequest},
        trace::{HeardError, IcmpError},
    },
    traffic::{
        error_tap::{ErrorTap, QuotedRun, TappedError},
        target::family_of,
    },
};

/// How many errors of a run are kept at most: routers send few, and probes without one go with those that have it.
const MOST: usize = 256;

/// The errors that came so far; nothing where they cannot be read.
#[derive(Debug, Default)]
pub(super) struct HeardErrors {
    tap: Option<ErrorTap>,
    told: Vec<HeardError>,
    known: BTreeSet<(u16, bool)>,
}

impl HeardErrors {
    /// Begins to read those of a run, by every device of the calling thread's network namespace.
    pub(super) fn begin(request: &WatchRequest) -> Self {
        if request.probes == 0 || request.requests == RequestHandling::AllAbsorbed {
            return Self::default();
        }
        let numbered = request.numbered_from.map(|first| (request.id, first, request.probes));
        let run = QuotedRun { nonce: request.nonce, numbered };
        let tap = or_log("ICMP errors", ErrorTap::open(0, family_of(request.remote), run));
        Self { tap, ..Self::default() }
    }

    /// Returns those that came since the begin, the first one of each packet.
    pub(super) fn read(&mut self) -> Vec<HeardError> {
        let new = self.tap.as_mut().map(ErrorTap::take).unwrap_or_default();
        new.into_iter().for_each(|error| self.learn(error));
        self.told.clone()
    }

    fn learn(&mut self, error: TappedError) {
        let TappedError { probe, leg, source: from, destination, icmp_type, code, .. } = error;
        let error = IcmpError { probe, from, icmp_type, code };
        // What a host says to itself, its hops tell better. One packet passes a bridge and its port.
        let new = from != destination && error.ends_packet() && self.told.len() < MOST;
        if new && self.known.insert((probe, leg == probe_ebpf::Echo::Reply)) {
            self.told.push(HeardError { leg, error });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_ebpf::Echo;

    #[test]
    fn the_first_error_of_each_packet_is_kept_and_none_that_a_host_sends_to_itself() {
        let error = |probe, leg, from: u8, icmp_type| TappedError {
            probe,
            leg,
            time_ns: 1,
            source: [10, 0, 0, from].into(),
            destination: [10, 0, 0, 2].into(),
            id: 1,
            seq: 1,
            icmp_type,
            code: 0,
            ttl: 64,
        };
        let mut heard = HeardErrors::default();
        let all = [
            error(1, Echo::Reply, 2, 3),
            error(1, Echo::Reply, 1, 5),
            error(1, Echo::Reply, 1, 11),
            error(1, Echo::Reply, 1, 3),
            error(1, Echo::Request, 1, 3),
        ];
        all.into_iter().for_each(|error| heard.learn(error));
        let told = heard.read();
        let words: Vec<_> = told.iter().map(|told| (told.leg, told.error.icmp_type)).collect();
        assert_eq!(words, [(Echo::Reply, 11), (Echo::Request, 3)]);
    }
}
