//! What was seen of a run's probes in another network namespace of a watched kernel.

use probe_ebpf::Echo;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use probe_ebpf::Hop;
use serde::{Deserialize, Serialize};

use super::{Drop, Finding, HopTrace, NeighbourPacket, ProbePassage};

/// A device of the watched network namespace that probes passed instead of the one that the hops stand at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherDevice {
    /// Its name.
    pub interface: String,
    /// Requests or replies.
    pub leg: Echo,
    /// Whether they came in by it; otherwise they left by it.
    pub inwards: bool,
    /// Which.
    pub probes: BTreeSet<u16>,
}

/// A network namespace that probes crossed or ended in, and in which nobody runs probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceTrace {
    /// What people call it: its name, or a process in it, or its inode.
    pub name: String,
    /// The inode of the network namespace.
    pub netns: u64,
    /// What runs a command in it when put before that, e.g. `ip netns exec fw`; none: it could not be found.
    #[serde(default)]
    pub enter: Option<String>,
    /// Whether the far end's kernel is the one that has it, not the sender's.
    #[serde(default)]
    pub of_peer: bool,
    /// Its interfaces that probes crossed.
    #[serde(default)]
    pub ports: Vec<PortTrace>,
    /// What netfilter's hooks in it saw; none: they were not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<HookTrace>,
    /// Probes that were freed in it.
    #[serde(default)]
    pub drops: Vec<Drop>,
    /// What was looked up in it after the probes had passed.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Packets of ARP and neighbour discovery about the run's addresses in it.
    #[serde(default)]
    pub neighbour: Vec<NeighbourPacket>,
}

impl PlaceTrace {
    /// Whether probes came into it, and it has this address.
    pub fn takes_in(&self, target: IpAddr) -> bool {
        let has = |finding: &Finding| matches!(finding, Finding::Address { address, own: true } if *address == target);
        let came = |port: &PortTrace| port.seen(Hop::NetifIn, Echo::Request).is_some_and(|seen| !seen.is_empty());
        self.ports.iter().any(came) && self.findings.iter().any(has)
    }
}

/// What the netfilter hooks of such a namespace saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookTrace {
    /// `CLOCK_MONOTONIC` of that kernel in nanoseconds from which on they were watched; what passed before may be missing.
    pub since_ns: u64,
    /// What they saw, by name ([`Hop::name`]).
    pub hops: BTreeMap<String, HopTrace>,
}

/// An interface of such a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTrace {
    /// Its name, or `interface N` by its index where that could not be learned.
    pub interface: String,
    /// What its hops saw, by name ([`Hop::name`]).
    pub hops: BTreeMap<String, HopTrace>,
}

impl PortTrace {
    /// Returns what `hop` saw of a leg, by probe; nothing where it is not there, or is blind.
    pub fn seen(&self, hop: Hop, leg: Echo) -> Option<&BTreeMap<u16, ProbePassage>> {
        self.hops.get(hop.name())?.seen(leg)
    }

    /// Returns the VLAN id of the tag with which a probe came in by it.
    pub fn tag(&self, probe: u16, leg: Echo) -> Option<u16> {
        self.seen(Hop::NetifIn, leg)?.get(&probe)?.tag()
    }
}
