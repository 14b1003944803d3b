//! What was seen of the packets of tunnels, by the place in which it was seen.

use super::{Evidence, path::Side};
use crate::model::trace::{HostFacts, PlaceTrace};

/// Packets that have one layer of a tunnel around the probes.
const FIRST: u8 = 1;

impl Evidence {
    /// Returns what was seen on `side` of packets with a tunnel around what is inside, and which tunnels that place has.
    pub(super) fn seen_around(&self, side: Side) -> Option<&PlaceTrace> {
        self.carried.iter().find(|place| place.layers == FIRST && self.is_of(place, side))
    }

    /// Reports whether what was seen in `place` was seen on `side`.
    fn is_of(&self, place: &PlaceTrace, side: Side) -> bool {
        let boot = |place: &PlaceTrace| match place.of_via {
            Some(via) => self.vias.get(usize::from(via)).map(|via| via.trace.host.boot.clone()),
            None if place.of_peer => self.peer.as_ref().map(|peer| peer.host.boot.clone()),
            None => Some(self.local.host.boot.clone()),
        };
        let facts = |netns: u64, boot: Option<String>| HostFacts {
            netns,
            boot: boot.unwrap_or_default(),
            ..HostFacts::default()
        };
        let here = facts(place.netns, boot(place));
        match self.place(side) {
            Some(other) => here.is_same_place(&facts(other.netns, boot(other))),
            None => here.is_same_place(&self.host(side).host),
        }
    }
}
