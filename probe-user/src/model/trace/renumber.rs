//! Gives the probes of a trace other numbers, or leaves some of them out.

use std::collections::{BTreeMap, BTreeSet};

use super::{Drop, HeardError, HopTrace, HostTrace, PlaceTrace, ProbePassage};

impl HostTrace {
    /// Gives each probe the number that `number` has for it, in all that was seen; leaves it out if there is none.
    pub fn renumber(&mut self, number: impl Fn(u16) -> Option<u16>) {
        let mut places: Vec<&mut PlaceTrace> = self.places.iter_mut().chain(&mut self.carried).collect();
        let of_places = places.iter_mut().flat_map(|place| {
            let ports = place.ports.iter_mut().flat_map(|port| port.hops.values_mut());
            ports.chain(place.hooks.iter_mut().flat_map(|hooks| hooks.hops.values_mut()))
        });
        let of_ports = self.ports.iter_mut().flat_map(|port| port.hops.values_mut());
        for hop in self.hops.values_mut().chain(of_ports).chain(of_places) {
            if let HopTrace::Watched { requests, replies } = hop {
                [requests, replies].into_iter().for_each(|seen| renumbered(seen, &number));
            }
        }
        for place in places {
            place.drops.retain_mut(|drop| keeps(drop, &number));
        }
        self.drops.retain_mut(|drop| keeps(drop, &number));
        let kept = |heard: &mut HeardError| number(heard.error.probe).map(|new| heard.error.probe = new).is_some();
        self.heard.retain_mut(kept);
        for other in &mut self.other_devices {
            other.probes = other.probes.iter().filter_map(|probe| number(*probe)).collect::<BTreeSet<u16>>();
        }
        self.other_devices.retain(|other| !other.probes.is_empty());
    }
}

fn renumbered(seen: &mut BTreeMap<u16, ProbePassage>, number: &impl Fn(u16) -> Option<u16>) {
    let passages = std::mem::take(seen);
    seen.extend(passages.into_iter().filter_map(|(probe, passage)| Some((number(probe)?, passage))));
}

/// Gives the probe of a drop its number, and returns whether the drop is kept. An echo packet that is not a probe has
/// no number.
fn keeps(drop: &mut Drop, number: &impl Fn(u16) -> Option<u16>) -> bool {
    let Some(probe) = drop.probe else { return true };
    drop.probe = number(probe);
    drop.probe.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::trace::PortTrace;
    use probe_ebpf::Hop;

    fn hop(probes: &[u16]) -> HopTrace {
        let seen = |probe: &u16| (*probe, ProbePassage { first_ns: u64::from(*probe), ..ProbePassage::default() });
        HopTrace::Watched { requests: probes.iter().map(seen).collect(), replies: BTreeMap::new() }
    }

    fn numbers(hop: &HopTrace) -> Vec<(u16, u64)> {
        let HopTrace::Watched { requests, .. } = hop else { return Vec::new() };
        requests.iter().map(|(probe, passage)| (*probe, passage.first_ns)).collect()
    }

    #[test]
    fn every_hop_here_and_in_places_has_the_new_numbers() {
        let hops = || BTreeMap::from([(Hop::Xmit, hop(&[1, 2, 9]))]);
        let port = PortTrace { interface: "eth0".into(), hops: hops() };
        let place = PlaceTrace { ports: vec![port], ..PlaceTrace::default() };
        let mut trace = HostTrace { hops: hops(), places: vec![place], ..HostTrace::default() };
        trace.renumber(|probe| match probe {
            9 => Some(0),
            2 => None,
            other => Some(other),
        });
        assert_eq!(numbers(&trace.hops[&Hop::Xmit]), [(0, 9), (1, 1)]);
        assert_eq!(numbers(&trace.places[0].ports[0].hops[&Hop::Xmit]), [(0, 9), (1, 1)]);
    }
}
