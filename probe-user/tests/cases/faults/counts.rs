//! What each interface of a lab counts of one ping: the ground truth that a fault is held against.

use probe_user::ebpf;
use std::collections::BTreeMap;

use probe_ebpf::{Echo, Family, Hop, Kind};
use probe_user::{
    ebpf::{
        load::Switch,
        nic::{Ingress, Watch, WatchOptions},
    },
    host::device::Device,
    lab::{Nic, Topology},
};

/// Watches at some interfaces of a lab.
pub(crate) struct Counters {
    watches: BTreeMap<Nic, Watch>,
}

impl Counters {
    pub(crate) fn attach(lab: &Topology, nics: &[Nic]) -> Self {
        let attached = |nic: &Nic| {
            let watch = lab.netns(nic.host()).run(|| watch(*nic)).expect("inside");
            (*nic, watch.unwrap_or_else(|error| panic!("{nic:?}: {error}")))
        };
        Self { watches: nics.iter().map(attached).collect() }
    }

    /// How many of a ping's packets left through `nic`.
    pub(crate) fn left(&self, nic: Nic, family: Family, echo: Echo, id: u16) -> u64 {
        self.count(nic, Hop::TcOut, Kind { family, echo }, id)
    }

    /// How many came in through `nic`, at the first hop that could see them.
    pub(crate) fn entered(&self, nic: Nic, family: Family, echo: Echo, id: u16) -> u64 {
        let hop = self.watches[&nic].ingress().expect("ingress is watched");
        self.count(nic, hop, Kind { family, echo }, id)
    }

    fn count(&self, nic: Nic, hop: Hop, kind: Kind, id: u16) -> u64 {
        self.watches[&nic].count(hop, kind, id).map_or(0, |count| count.packets)
    }
}

fn watch(nic: Nic) -> Result<Watch, ebpf::KernelError> {
    let device = Device::find(nic.interface())?;
    Watch::attach(&device, &WatchOptions { ingress: Ingress::Twice, egress: Switch::On, ..WatchOptions::default() })
}
