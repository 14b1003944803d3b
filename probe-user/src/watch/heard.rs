//! ICMP errors about a run's packets, as they come to the host that is watched: those about replies are sent to the far end alone.

use std::collections::BTreeSet;

use probe_ebpf::Family;

use super::carried::MAX_NAMESPACES;
use crate::{
    host::{device, namespace::Namespace, or_log},
    model::{
        request::{RequestHandling, WatchRequest},
        trace::{HeardError, IcmpError, TunnelFacts, tunnel::known},
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
    /// Each with the namespace in which it reads errors about packets of tunnels; none: it reads those about the probes.
    taps: Vec<(Option<u64>, ErrorTap)>,
    told: Vec<HeardError>,
    known: BTreeSet<(Option<u64>, u16, bool)>,
}

impl HeardErrors {
    /// Begins to read those of a run, by every device of the calling thread's network namespace; and those about packets of
    /// `tunnels`, the devices of each namespace by its inode, the calling thread's first.
    pub(super) fn begin(request: &WatchRequest, tunnels: &[(u64, Vec<TunnelFacts>)]) -> Self {
        if request.probes == 0 || request.requests == RequestHandling::AllAbsorbed {
            return Self::default();
        }
        let numbered = request.numbered_from.map(|first| (request.id, first, request.probes));
        let run = QuotedRun { nonce: request.nonce, numbered };
        let tap = or_log("ICMP errors", ErrorTap::open(0, family_of(request.remote), run));
        let mut taps: Vec<(Option<u64>, ErrorTap)> = tap.map(|tap| (None, tap)).into_iter().collect();
        let around = |inode: u64| -> Vec<(Option<u64>, ErrorTap)> {
            let devices = tunnels.iter().find(|(of, _)| *of == inode).map(|(_, devices)| devices);
            let devices = devices.filter(|devices| devices.iter().any(|device| !device.is_sealed()));
            let Some(known) = devices.map(|devices| known(devices)) else { return Vec::new() };
            let opened = [Family::V4, Family::V6].map(|family| ErrorTap::open_around(family, run, known));
            opened.into_iter().filter_map(|tap| Some((Some(inode), or_log("ICMP errors", tap)?))).collect()
        };
        if let Some((here, _)) = tunnels.first() {
            taps.extend(around(*here));
            let elsewhere = tunnels.iter().skip(1).any(|(_, devices)| devices.iter().any(|device| !device.is_sealed()));
            if elsewhere {
                let there = || around(device::netns_inode().unwrap_or_default());
                taps.extend(Namespace::in_each(*here, MAX_NAMESPACES, there).into_iter().flatten());
            }
        }
        Self { taps, ..Self::default() }
    }

    /// Returns those that came since the begin, the first one of each packet.
    pub(super) fn read(&mut self) -> Vec<HeardError> {
        let taken = |(around_in, tap): &mut (Option<u64>, ErrorTap)| (*around_in, tap.take());
        let new: Vec<(Option<u64>, Vec<TappedError>)> = self.taps.iter_mut().map(taken).collect();
        new.into_iter().for_each(|(at, errors)| errors.into_iter().for_each(|error| self.learn(at, error)));
        self.told.clone()
    }

    fn learn(&mut self, around_in: Option<u64>, error: TappedError) {
        let TappedError { probe, leg, source: from, destination, icmp_type, code, next_mtu, .. } = error;
        let error = IcmpError { probe, from, icmp_type, code, next_mtu };
        // What a host says to itself, its hops tell better. One packet passes a bridge and its port.
        let new = from != destination && error.ends_packet() && self.told.len() < MOST;
        if new && self.known.insert((around_in, probe, leg == probe_ebpf::Echo::Reply)) {
            self.told.push(HeardError { leg, around_in, error });
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
            next_mtu: None,
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
        all.into_iter().for_each(|error| heard.learn(None, error));
        heard.learn(Some(7), error(1, Echo::Reply, 1, 3));
        let told = heard.read();
        let words: Vec<_> = told.iter().map(|told| (told.around_in, told.leg, told.error.icmp_type)).collect();
        assert_eq!(words, [(None, Echo::Reply, 11), (None, Echo::Request, 3), (Some(7), Echo::Reply, 3)]);
    }
}
