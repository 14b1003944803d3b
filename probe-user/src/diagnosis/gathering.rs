//! From what each host found on its own kernel to the places of the path, each once.

use std::collections::BTreeSet;

use probe_ebpf::contract::crossing::CROSSING_HOPS;

use super::{Evidence, ProbeMode, Responder};
use crate::model::trace::{HookTrace, HostFacts, HostTrace, PlaceTrace, PortTrace, ViaTrace};

/// How many places are reported at most, besides the two ends.
pub const MAX_PLACES: usize = 16;

impl Evidence {
    /// Adds the places that each host found on its kernel as places of the path, each once: two hosts of one kernel
    /// found the same ones, and one of the two ends is not a place in between. A far end that only forwarded is one.
    #[must_use]
    pub fn gathered(mut self) -> Self {
        self.take_forwarding_peer();
        let found_here = std::mem::take(&mut self.local.places);
        let found_there = self.peer.as_mut().map(|peer| std::mem::take(&mut peer.places)).unwrap_or_default();
        let one_kernel = self.peer.as_ref().is_some_and(|peer| peer.host.shares_kernel(&self.local.host));
        found_here.into_iter().for_each(|place| self.add(place));
        if !one_kernel {
            found_there.into_iter().for_each(|place| self.add(PlaceTrace { of_peer: true, ..place }));
        }
        for number in 0..self.vias.len() {
            let found = std::mem::take(&mut self.vias[number].trace.places);
            let of_via = u8::try_from(number).ok();
            found.into_iter().for_each(|place| self.add(PlaceTrace { of_via, ..place }));
        }
        self.gather_carried(one_kernel);
        self.name_hosts();
        self.tell_names_apart();
        // What no probe met is left out first.
        self.places.sort_by_key(|place| place.ports.is_empty() && place.drops.is_empty());
        self.untold = self.places.len().saturating_sub(MAX_PLACES);
        self.places.truncate(MAX_PLACES);
        self
    }

    /// Takes what each host saw of the probes inside the packets of tunnels, each place once; one that only these came to is a
    /// place of the path, too.
    fn gather_carried(&mut self, one_kernel: bool) {
        let here = std::mem::take(&mut self.local.carried);
        let there = self.peer.as_mut().map(|peer| std::mem::take(&mut peer.carried)).unwrap_or_default();
        let there = there.into_iter().map(|place| PlaceTrace { of_peer: !one_kernel, ..place });
        let mut all: Vec<PlaceTrace> = here.into_iter().chain(there).collect();
        for number in 0..self.vias.len() {
            let of_via = u8::try_from(number).ok();
            let found = std::mem::take(&mut self.vias[number].trace.carried);
            all.extend(found.into_iter().map(|place| PlaceTrace { of_via, ..place }));
        }
        for place in all {
            let boot = self.kernel_of(&place).boot.clone();
            let same = |known: &PlaceTrace| {
                (known.netns, known.layers) == (place.netns, place.layers) && self.kernel_of(known).boot == boot
            };
            match self.carried.iter().position(same) {
                Some(known) => self.carried[known].learn(place),
                None => self.carried.push(place),
            }
        }
        let met = self.carried.iter().filter(|place| place.is_met()).map(PlaceTrace::identity);
        let met: Vec<PlaceTrace> = met.filter(|place| !self.is_sender(place)).collect();
        met.into_iter().for_each(|place| self.add(place));
    }

    /// Reports whether it is the place from which probes are sent.
    fn is_sender(&self, place: &PlaceTrace) -> bool {
        place.netns == self.local.host.netns && self.kernel_of(place).boot == self.local.host.boot
    }

    /// Makes a far end that sent the probes on a host in between: it is not the end of the way.
    fn take_forwarding_peer(&mut self) {
        let kept = self.responder != Responder::Kernel || self.mode == ProbeMode::RequestOnly;
        let first = self.first_leg();
        let forwarded = self.peer.as_ref().is_some_and(|peer| peer.forwarded(first) && !peer.took_in(first));
        if kept || !forwarded {
            return;
        }
        let Some(mut trace) = self.peer.take() else { return };
        let own = own_place(&mut trace);
        trace.places.insert(0, own);
        self.forwarding_peer = u8::try_from(self.vias.len()).ok();
        self.vias.push(ViaTrace { trace, addresses: Vec::new(), ahead_ns: self.peer_ahead_ns });
    }

    /// Adds a place that its host found, unless it is that of an end; one that is already known gains what this one
    /// adds.
    fn add(&mut self, place: PlaceTrace) {
        let host = self.kernel_of(&place);
        let place_facts = HostFacts { netns: place.netns, boot: host.boot.clone(), ..HostFacts::default() };
        let by_another = |end: &HostTrace| end.host.is_same_place(&place_facts);
        let is_end = self.peer.as_ref().is_some_and(by_another) || place.of_via.is_some() && by_another(&self.local);
        if is_end {
            return;
        }
        let same = |known: &&mut PlaceTrace| {
            let facts = HostFacts { netns: known.netns, ..HostFacts::default() };
            let boot = match known.of_via {
                Some(via) => self.vias.get(usize::from(via)).map(|via| &via.trace.host.boot),
                None if known.of_peer => self.peer.as_ref().map(|peer| &peer.host.boot),
                None => Some(&self.local.host.boot),
            };
            place_facts.is_same_place(&HostFacts { boot: boot.cloned().unwrap_or_default(), ..facts })
        };
        match self.places.iter_mut().find(same) {
            Some(known) => known.learn(place),
            None => self.places.push(place),
        }
    }

    /// Returns the host whose kernel has a place.
    pub(super) fn kernel_of(&self, place: &PlaceTrace) -> &HostFacts {
        let via = place.of_via.and_then(|via| self.vias.get(usize::from(via)));
        match (via, &self.peer) {
            (Some(via), _) => &via.trace.host,
            (None, Some(peer)) if place.of_peer => &peer.host,
            _ => &self.local.host,
        }
    }

    /// Names the namespaces in which agents run by their hosts, if that tells them apart.
    fn name_hosts(&mut self) {
        let ends = [Some(&self.local), self.peer.as_ref()].into_iter().flatten();
        let names: Vec<String> =
            ends.chain(self.vias.iter().map(|via| &via.trace)).map(|trace| trace.host.hostname.clone()).collect();
        let alone = |name: &String| !name.is_empty() && names.iter().filter(|other| *other == name).count() == 1;
        for place in &mut self.places {
            let Some(number) = place.of_via else { continue };
            let Some(via) = self.vias.get(usize::from(number)).filter(|via| via.is_own(place)) else { continue };
            let hostname = &via.trace.host.hostname;
            place.name = match (alone(hostname), place.name.is_empty()) {
                (true, _) => hostname.clone(),
                (false, true) if self.forwarding_peer == Some(number) => format!("{hostname} (--peer)"),
                (false, true) => format!("{hostname} (--via {})", number + 1),
                (false, false) => continue,
            };
        }
    }

    /// Gives places that have the same name the name of their host, too.
    fn tell_names_apart(&mut self) {
        let mut known = BTreeSet::from([self.local.host.hostname.clone()]);
        known.extend(self.peer.as_ref().map(|peer| peer.host.hostname.clone()));
        for index in 0..self.places.len() {
            let place = &self.places[index];
            let host = self.kernel_of(place).hostname.clone();
            let names =
                [place.name.clone(), format!("{} on {host}", place.name), format!("{} ({})", place.name, place.netns)];
            let name = names.into_iter().find(|name| !known.contains(name)).unwrap_or_else(|| place.netns.to_string());
            known.insert(name.clone());
            self.places[index].name = name;
        }
    }
}

impl ViaTrace {
    /// Reports whether it is the network namespace in which its agent is.
    pub(super) fn is_own(&self, place: &PlaceTrace) -> bool {
        place.netns == self.trace.host.netns
    }
}

/// Returns the namespace of a host that was watched as an end, as a place.
fn own_place(trace: &mut HostTrace) -> PlaceTrace {
    let mut ports = std::mem::take(&mut trace.ports);
    if ports.is_empty() {
        let seen = CROSSING_HOPS.iter().map(|hop| (*hop, trace.hop(*hop)));
        ports.push(PortTrace { interface: trace.host.interface.clone(), hops: seen.collect() });
    }
    PlaceTrace {
        name: String::new(),
        netns: trace.host.netns,
        ports,
        // Attached before the first probe was sent.
        hooks: Some(HookTrace::of(&trace.hops, 1)),
        drops: std::mem::take(&mut trace.drops),
        findings: std::mem::take(&mut trace.findings),
        neighbour: std::mem::take(&mut trace.neighbour),
        ..PlaceTrace::default()
    }
}
