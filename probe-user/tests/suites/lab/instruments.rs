//! The experiments' instruments out of sockets and sysctls: the firewall is judged without probe's programs.

use std::fs;

use probe_ebpf::{Direction, Family, Hop, Kind};
use probe_user::{
    lab::{LabHost, Nic, Topology, bench::Instruments},
    ledger::Sight,
};

use super::echo::{Tap, send};

pub(crate) struct Sockets<'a> {
    lab: &'a Topology,
    taps: [Tap; 4],
}

impl<'a> Sockets<'a> {
    pub(crate) fn new(lab: &'a Topology) -> Self {
        Self { lab, taps: Nic::ALL.map(|nic| Tap::new(lab, nic)) }
    }
}

impl Instruments for Sockets<'_> {
    type Error = std::io::Error;

    /// The kernel of B knows only all or none, which is enough here.
    fn absorb(&mut self, family: Family, ids: &[u16]) -> std::io::Result<()> {
        let path = match family {
            Family::V4 => "/proc/sys/net/ipv4/icmp_echo_ignore_all",
            Family::V6 => "/proc/sys/net/ipv6/icmp/echo_ignore_all",
        };
        let value = if ids.is_empty() { "0" } else { "1" };
        self.lab.netns(LabHost::B).run(|| fs::write(path, value)).expect("inside")
    }

    fn send(&mut self, from: LabHost, kind: Kind, id: u16, count: u32) -> std::io::Result<()> {
        let to = if from == LabHost::A { LabHost::B } else { LabHost::A };
        (0..count).try_for_each(|_| send(self.lab, from, to.address(kind.family), kind.echo, id, 1))
    }

    fn sight(&mut self, nic: Nic, hop: Hop, kind: Kind, id: u16) -> std::io::Result<Sight> {
        let direction = if hop == Hop::TcOut { Direction::Out } else { Direction::In };
        Ok(Sight::counted(self.taps[nic as usize].count(direction, kind, id)))
    }

    fn ingress(&self, _: Nic) -> Hop {
        Hop::XdpIn
    }
}
