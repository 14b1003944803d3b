//! Leaves a probe out of a trace that is no probe of the run.

use super::{HopTrace, HostTrace};

impl HostTrace {
    /// Leaves one probe out of all that was seen: it was no probe of the run.
    pub fn forget(&mut self, probe: u16) {
        let places = &mut self.places;
        let of_places = places.iter_mut().flat_map(|place| {
            let ports = place.ports.iter_mut().flat_map(|port| port.hops.values_mut());
            ports.chain(place.hooks.iter_mut().flat_map(|hooks| hooks.hops.values_mut()))
        });
        let of_ports = self.ports.iter_mut().flat_map(|port| port.hops.values_mut());
        for hop in self.hops.values_mut().chain(of_ports).chain(of_places) {
            if let HopTrace::Watched { requests, replies } = hop {
                requests.remove(&probe);
                replies.remove(&probe);
            }
        }
        places.iter_mut().for_each(|place| place.drops.retain(|drop| drop.probe != Some(probe)));
        self.drops.retain(|drop| drop.probe != Some(probe));
        for other in &mut self.other_devices {
            other.probes.remove(&probe);
        }
        self.other_devices.retain(|other| !other.probes.is_empty());
    }
}
