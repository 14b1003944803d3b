//! What was seen of the packets of tunnels, by the place in which it was seen.

use super::{Evidence, path::Side};
use crate::model::trace::{HostFacts, PlaceTrace};

/// Packets that have one layer of a tunnel around the probes.
pub(super) const FIRST: u8 = 1;

impl Evidence {
    /// Returns what was seen on `side` of packets with a tunnel around what is inside, and which tunnels that place has.
    pub(super) fn seen_around(&self, side: Side) -> Option<&PlaceTrace> {
        self.carried.iter().find(|place| place.layers == FIRST && self.is_of(place, side))
    }

    /// Reports whether what was seen in `place` was seen on `side`.
    fn is_of(&self, place: &PlaceTrace, side: Side) -> bool {
        self.facts_of(place).is_same_place(&self.facts_on(side))
    }

    /// Reports whether somebody watched every network namespace of the kernel of both, which are two places of one kernel.
    pub(super) fn watched_as_one(&self, one: Side, other: Side) -> bool {
        let kernel = self.facts_on(one);
        let ends = [Some(&self.local), self.peer.as_ref()].into_iter().flatten();
        let mut all = ends.chain(self.vias.iter().map(|via| &via.trace)).map(|trace| &trace.host);
        kernel.shares_kernel(&self.facts_on(other)) && all.any(|host| host.everywhere && host.shares_kernel(&kernel))
    }

    /// Reports whether both are one network namespace, which packets that carry probes may begin in and the probes cross.
    pub(super) fn is_one_place(&self, one: Side, other: Side) -> bool {
        one == other || self.facts_on(one).is_same_place(&self.facts_on(other))
    }

    fn facts_on(&self, side: Side) -> HostFacts {
        self.place(side).map_or_else(|| self.host(side).host.clone(), |place| self.facts_of(place))
    }

    fn facts_of(&self, place: &PlaceTrace) -> HostFacts {
        let boot = match place.of_via {
            Some(via) => self.vias.get(usize::from(via)).map(|via| via.trace.host.boot.clone()),
            None if place.of_peer => self.peer.as_ref().map(|peer| peer.host.boot.clone()),
            None => Some(self.local.host.boot.clone()),
        };
        HostFacts { netns: place.netns, boot: boot.unwrap_or_default(), ..HostFacts::default() }
    }
}
