//! What is known about the probes of a gap besides its counters: drop events, errno, ICMP errors; and gaps split by
//! that.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Evidence,
    ledger::Gap,
    names::{self, Placed},
    path::Side,
    places::{DropLocation, DropPoint, host_of},
};
use crate::model::trace::{Drop, IcmpError, benign::is_no_loss};

/// A drop event about a probe of a gap, with the place in the gap that it names.
#[derive(Clone, Copy, Debug)]
pub struct PlacedDrop<'a> {
    /// The event.
    pub drop: &'a Drop,
    /// Its place; none if its names are unknown here.
    pub spot: Option<DropLocation>,
}

/// What probes that died of the same cause have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Clue<'a> {
    errno: Option<&'a str>,
    drop: Option<(&'a str, &'a str, Option<DropLocation>)>,
    icmp: Option<(std::net::IpAddr, u8, u8)>,
}

impl Gap {
    /// Returns the drop events about its probes that lie inside of it; benign ones and those of elsewhere are no clue.
    pub fn events<'a>(&self, evidence: &'a Evidence) -> Vec<PlacedDrop<'a>> {
        let of_side = |side: Side| {
            let drops = evidence.drops(side).iter();
            drops.filter_map(move |drop| self.told(drop, side, evidence))
        };
        evidence.sides().flat_map(of_side).collect()
    }

    /// Returns where an event lies that names a device below the watched one, or a bridge: what is a network to the
    /// hops of a virtual device begins and ends in the same kernel, at the devices that carry it.
    fn below(&self, drop: &Drop, places: &[DropPoint], evidence: &Evidence, side: Side) -> Option<DropLocation> {
        let crosses = self.spots.iter().any(|spot| spot.place == DropPoint::Network);
        let ends = [(self.last_seen.host, self.leg), (self.first_missing.host, self.missing_leg)];
        let sends = side == self.last_seen.host && drop.leg == self.leg;
        let fits = |place: &&DropPoint| **place == DropPoint::Bridge || (**place < DropPoint::Network) == sends;
        let place = *places.iter().find(fits)?;
        let other = drop.interface.as_ref().is_some_and(|at| *at != evidence.interface(side));
        let below = other || place == DropPoint::Bridge;
        let spot = DropLocation { leg: drop.leg, host: host_of(side), place };
        (crosses && below && ends.contains(&(side, drop.leg))).then_some(spot)
    }

    fn told<'a>(&self, drop: &'a Drop, side: Side, evidence: &Evidence) -> Option<PlacedDrop<'a>> {
        let mine = drop.probe.is_some_and(|probe| self.probes.contains(&probe));
        if !mine || is_no_loss(drop) {
            return None;
        }
        let here = |spot: &&DropLocation| spot.leg == drop.leg && spot.host == host_of(side);
        let mut spots = self.spots.iter().filter(here);
        match names::placed(drop) {
            Placed::At(places) => {
                let find = |place: &DropPoint| self.spots.iter().filter(here).find(|spot| spot.place == *place);
                let spot = places.iter().find_map(find).copied();
                let spot = spot.or_else(|| self.below(drop, places, evidence, side));
                spot.map(|spot| PlacedDrop { drop, spot: Some(spot) })
            }
            Placed::Unknown => spots.next().map(|_| PlacedDrop { drop, spot: None }),
        }
    }

    /// Returns the errno that the send call gave for its probes.
    pub fn errno<'a>(&self, evidence: &'a Evidence) -> Option<&'a str> {
        self.probes.iter().find_map(|probe| evidence.probe(*probe)?.errno.as_deref())
    }

    /// Returns an ICMP error that ended one of its probes.
    pub fn icmp<'a>(&self, evidence: &'a Evidence) -> Option<&'a IcmpError> {
        self.errors(evidence).find(|error| self.probes.contains(&error.probe))
    }

    /// Returns the ICMP errors that end packets: those that the sender's program read, and those of its legs that came to
    /// a watched host.
    fn errors<'a>(&self, evidence: &'a Evidence) -> impl Iterator<Item = &'a IcmpError> + use<'a> {
        let legs = [self.leg, self.missing_leg];
        let heard = evidence.heard().filter(move |heard| legs.contains(&heard.leg)).map(|heard| &heard.error);
        evidence.sending.errors.iter().chain(heard).filter(|error| error.ends_packet())
    }

    /// Returns the gap's spot at this place on that host.
    pub fn spot(&self, side: Side, place: DropPoint) -> Option<DropLocation> {
        self.spots.iter().find(|spot| spot.host == host_of(side) && spot.place == place).copied()
    }

    /// Returns the gap's spots at any of these places.
    pub fn spots_at(&self, places: &[DropPoint]) -> Vec<DropLocation> {
        self.spots.iter().filter(|spot| places.contains(&spot.place)).copied().collect()
    }

    /// Splits the gap by cause if its probes died of different ones. Probes of which nothing is known go with the
    /// others if all of those died of the same.
    pub fn split(self, evidence: &Evidence) -> Vec<Self> {
        let mut parts: BTreeMap<Clue<'_>, BTreeSet<u16>> = BTreeMap::new();
        let events = self.events(evidence);
        for probe in &self.probes {
            parts.entry(self.clue(*probe, &events, evidence)).or_default().insert(*probe);
        }
        if parts.len() == 2
            && let Some(silent) = parts.remove(&Clue::default())
        {
            parts.values_mut().for_each(|probes| probes.extend(&silent));
        }
        parts.into_values().map(|probes| Self { probes, ..self.clone() }).collect()
    }

    fn clue<'a>(&self, probe: u16, events: &[PlacedDrop<'a>], evidence: &'a Evidence) -> Clue<'a> {
        let mut mine: Vec<&PlacedDrop<'a>> = events.iter().filter(|told| told.drop.probe == Some(probe)).collect();
        mine.sort_by_key(|told| (told.spot.is_none(), told.spot, told.drop.time_ns));
        let drop = mine.first().map(|told| (told.drop.reason.as_str(), told.drop.function.as_str(), told.spot));
        let icmp = self.errors(evidence).find(|error| error.probe == probe);
        // Errors are rate-limited: if the kernel itself reported the drop, those that came do not make it another one.
        let told = drop.is_some_and(|(.., spot)| spot.is_some());
        Clue {
            errno: evidence.probe(probe).and_then(|sent| sent.errno.as_deref()),
            drop,
            icmp: icmp.filter(|_| !told).map(|error| (error.from, error.icmp_type, error.code)),
        }
    }
}
