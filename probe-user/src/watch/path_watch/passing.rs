//! Watches one NIC of a host that a run's packets pass on their way: which of them enter there, and which leave.

use std::collections::BTreeMap;

use crate::ebpf::Ebpf;
use probe_ebpf::{Hop, contract::hop::NIC_HOPS};

use super::facts;
use crate::ebpf::attaching::{AttachedHops, HopLinks, attach_nic};
use crate::{
    ebpf::{KernelError, journeys::Journeys},
    error::Failure,
    host::device::Device,
    model::{
        request::WatchRequest,
        trace::{HopTrace, HostFacts, HostTrace},
    },
    watch::Watching,
};

/// A watched NIC that packets pass. It reports only its own hops, and looks nothing up.
pub struct PassingWatch {
    facts: HostFacts,
    probes: u16,
    blind: BTreeMap<Hop, String>,
    journeys: Journeys,
    _links: HopLinks,
    _programs: Ebpf,
}

impl PassingWatch {
    /// Attaches to the interface that `request` names, in the calling thread's network namespace.
    ///
    /// # Errors
    /// No such interface, no privilege, no kernel half. A hop that cannot be watched is blind, not an error.
    pub fn start(request: &WatchRequest) -> Result<Self, KernelError> {
        let device = Device::find(request.interface.as_deref().unwrap_or_default())?;
        let AttachedHops { mut programs, blind, links, xdp_mode } = attach_nic(request, &device)?;
        Ok(Self {
            facts: facts(request, Some(&device), xdp_mode),
            probes: request.probes,
            blind,
            journeys: Journeys::take(&mut programs)?,
            _links: links,
            _programs: programs,
        })
    }
}

impl Watching for PassingWatch {
    fn look(&mut self) -> Result<HostTrace, Failure> {
        let mut seen = self.journeys.read(self.probes);
        let mut hop = |hop: Hop| match self.blind.get(&hop) {
            Some(why) => HopTrace::Blind { why: why.clone() },
            None => {
                let (requests, replies) = seen.remove(&hop).unwrap_or_default();
                HopTrace::Watched { requests, replies }
            }
        };
        let hops = NIC_HOPS.iter().map(|nic_hop| (*nic_hop, hop(*nic_hop))).collect();
        Ok(HostTrace { host: self.facts.clone(), hops, ..HostTrace::default() })
    }

    fn finish(&mut self) -> Result<HostTrace, Failure> {
        self.look()
    }
}
