//! The lab's instruments: a watch at each of its four interfaces, and senders on its hosts.

use crate::ebpf;
use std::{collections::BTreeMap, net::SocketAddr};

use probe_ebpf::{Echo, Family, Hop, Kind, Rule};

use crate::{
    ebpf::{
        filter::Rules,
        load::Switch,
        nic::{Ingress, Watch, WatchOptions},
    },
    error::Failure,
    filter::rules::Kinds,
    host::device::Device,
    lab::{
        Topology,
        bench::Instruments,
        plan::{LabHost, Nic},
    },
    ledger::Sight,
    traffic::{Sender, Settings, packet::counting_payload},
};

/// Payload bytes of the lab's packets: those of `ping`.
const PAYLOAD: usize = 56;

/// Watches at every interface of a lab.
pub(super) struct Taps<'a> {
    lab: &'a Topology,
    watches: BTreeMap<Nic, Watch>,
    /// What B keeps from its kernel.
    absorbed: Rules,
}

impl<'a> Taps<'a> {
    /// Attaches to the four interfaces, each in its host's network namespace.
    pub(super) fn attach(lab: &'a Topology) -> Result<Self, Failure> {
        let mut watches = BTreeMap::new();
        for nic in Nic::ALL {
            watches.insert(nic, lab.netns(nic.host()).run(|| watch(nic))??);
        }
        let absorbed = watches.get_mut(&Nic::B).expect("B has an interface").rules()?;
        Ok(Self { lab, watches, absorbed })
    }

    fn watch(&self, nic: Nic) -> &Watch {
        &self.watches[&nic]
    }
}

fn watch(nic: Nic) -> Result<Watch, ebpf::KernelError> {
    let device = Device::find(nic.interface())?;
    let filter = if nic == Nic::B { Switch::On } else { Switch::Off };
    Watch::attach(
        &device,
        &WatchOptions { ingress: Ingress::Twice, egress: Switch::On, filter, ..WatchOptions::default() },
    )
}

impl Instruments for Taps<'_> {
    type Error = Failure;

    fn absorb(&mut self, family: Family, ids: &[u16]) -> Result<(), Failure> {
        let held: Vec<u32> =
            (0..).zip(self.absorbed.read()?).filter(|(_, rule)| rule.number > 0).map(|(slot, _)| slot).collect();
        self.absorbed.remove(&held)?;
        let requests = Kinds::matching(|kind| kind == Kind { family, echo: Echo::Request }).bits();
        for (number, id) in (1..).zip(ids) {
            self.absorbed.add(&Rule { number, id_first: *id, id_last: *id, kinds: requests, ..Rule::default() })?;
        }
        Ok(())
    }

    fn send(&mut self, from: LabHost, kind: Kind, id: u16, count: u32) -> Result<(), Failure> {
        let to = if from == LabHost::B { LabHost::A } else { LabHost::B };
        let settings = Settings::new(kind.echo, SocketAddr::new(to.address(kind.family), 0));
        self.lab.netns(from).run(|| send(&settings, id, count))?
    }

    fn sight(&mut self, nic: Nic, hop: Hop, kind: Kind, id: u16) -> Result<Sight, Failure> {
        let watch = self.watch(nic);
        Ok(match watch.count(hop, kind, id) {
            Some(count) => Sight::counted(count.packets),
            None => {
                Sight::Blind(format!("{} is not attached: XDP {}: {}", hop.name(), watch.mode.name(), watch.mode_why))
            }
        })
    }

    fn ingress(&self, nic: Nic) -> Hop {
        self.watch(nic).ingress().unwrap_or(Hop::TcIn)
    }
}

fn send(settings: &Settings, id: u16, count: u32) -> Result<(), Failure> {
    let mut sender = Sender::open(settings)?;
    let payload = counting_payload(PAYLOAD);
    for seq in (1..=u16::MAX).take(count as usize) {
        sender.send(id, seq, &payload).map_err(|refused| {
            Failure::new(
                format!("the lab could not send: {}", refused.cause()),
                "report this with the output of probe doctor",
            )
        })?;
    }
    Ok(())
}
