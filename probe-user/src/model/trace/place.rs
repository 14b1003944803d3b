//! What was seen of a run's probes in another network namespace of a watched kernel.

use probe_ebpf::Echo;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use probe_ebpf::{Hop, contract::hook::HOOK_HOPS};
use serde::{Deserialize, Serialize};

use super::{Drop, Finding, HopTrace, NeighbourPacket, ProbePassage, TunnelFacts};

/// A device of the watched network namespace that probes passed instead of the one that the hops are attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherDevice {
    /// Its name.
    pub interface: String,
    /// Requests or replies.
    pub leg: Echo,
    /// Whether they came in by it; otherwise they left by it.
    pub inwards: bool,
    /// The probes.
    pub probes: BTreeSet<u16>,
    /// Whether something redirected them to it: routing had chosen the device that the hops are attached to, or they
    /// had come in by that one and were never routed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redirected: bool,
}

/// A network namespace that probes crossed or ended in, other than those of the two ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceTrace {
    /// Its name for people: its own, that of a process in it, or its inode.
    pub name: String,
    /// The inode of the network namespace.
    pub netns: u64,
    /// The prefix that runs a command in it, e.g. `ip netns exec fw`; none: it could not be found.
    #[serde(default)]
    pub enter: Option<String>,
    /// Whether it is on the far end's kernel, not on the sender's.
    #[serde(default)]
    pub of_peer: bool,
    /// The number of the host in between whose kernel has it ([`super::ViaTrace`]); none: it is on that of one of the
    /// two ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_via: Option<u8>,
    /// Its interfaces that probes crossed.
    #[serde(default)]
    pub ports: Vec<PortTrace>,
    /// What netfilter's hooks in it saw; none: they were not watched.
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
    /// How many layers of tunnels the probes reported here had around them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub layers: u8,
    /// Its tunnels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tunnels: Vec<TunnelFacts>,
}

/// What there was no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntoldPlaces {
    /// How many network namespaces.
    #[serde(default)]
    pub places: usize,
    /// Whether there may be further interfaces.
    #[serde(default)]
    pub interfaces: bool,
}

impl UntoldPlaces {
    /// Returns whether everything is reported.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Returns whether there is no layer.
fn is_none(layers: &u8) -> bool {
    *layers == 0
}

/// The beginnings of names of places that need no word before them in a sentence.
const WHOLE: [&str; 4] = ["the host", "container ", "machine ", "unit "];

/// Returns what a place with this name is called in the middle of a sentence: `the host`, `container web (docker)`,
/// `network namespace fw`, `the network namespace of sleep (pid 7)`.
pub fn in_words(name: &str) -> String {
    if WHOLE.iter().any(|whole| name.starts_with(whole)) {
        name.to_owned()
    } else if name.contains(" (pid ") {
        format!("the network namespace of {name}")
    } else {
        format!("network namespace {name}")
    }
}

impl PlaceTrace {
    /// Returns which place it is, without what was seen or looked up there.
    #[must_use]
    pub fn identity(&self) -> Self {
        Self {
            name: self.name.clone(),
            netns: self.netns,
            enter: self.enter.clone(),
            of_peer: self.of_peer,
            of_via: self.of_via,
            ..Self::default()
        }
    }

    /// Reports whether probes reached it, or were freed in it.
    pub fn is_met(&self) -> bool {
        !self.ports.is_empty() || !self.drops.is_empty()
    }

    /// Adds what another watcher on that kernel knows of the same namespace.
    pub fn learn(&mut self, other: Self) {
        if self.ports.is_empty() {
            self.ports = other.ports;
        }
        if self.drops.is_empty() {
            self.drops = other.drops;
        }
        let since = |hooks: &Option<HookTrace>| hooks.as_ref().filter(|it| it.since_ns != 0).map(|it| it.since_ns);
        // Whoever watched from earlier on saw more.
        if since(&other.hooks).is_some_and(|theirs| since(&self.hooks).is_none_or(|ours| theirs < ours)) {
            self.hooks = other.hooks;
        }
        if self.neighbour.is_empty() {
            self.neighbour = other.neighbour;
        }
        if self.tunnels.is_empty() {
            self.tunnels = other.tunnels;
        }
        for finding in other.findings {
            if !self.findings.contains(&finding) {
                self.findings.push(finding);
            }
        }
    }

    /// Reports whether probes came into it, and it has this address.
    pub fn takes_in(&self, target: IpAddr) -> bool {
        let has = |finding: &Finding| matches!(finding, Finding::Address { address, own: true } if *address == target);
        let came = |port: &PortTrace| port.seen(Hop::NetifIn, Echo::Request).is_some_and(|seen| !seen.is_empty());
        self.ports.iter().any(came) && self.findings.iter().any(has)
    }
}

/// What the netfilter hooks of a namespace saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookTrace {
    /// `CLOCK_MONOTONIC` of that kernel in nanoseconds from which on they were watched; what passed before may be missing.
    pub since_ns: u64,
    /// What each of them saw.
    pub hops: BTreeMap<Hop, HopTrace>,
}

impl HookTrace {
    /// Returns what those of a host's `hops` that are netfilter's saw, watched since this time.
    pub fn of(hops: &BTreeMap<Hop, HopTrace>, since_ns: u64) -> Self {
        let of_hook = HOOK_HOPS.iter().filter_map(|hop| Some((*hop, hops.get(hop)?.clone())));
        Self { since_ns, hops: of_hook.collect() }
    }
}

/// An interface of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTrace {
    /// Its name, or `interface N` by its index if that could not be learned.
    pub interface: String,
    /// What each of its hops saw.
    pub hops: BTreeMap<Hop, HopTrace>,
}

impl PortTrace {
    /// Returns what `hop` saw of a leg, by probe; `None` if it is not there, or is blind.
    pub fn seen(&self, hop: Hop, leg: Echo) -> Option<&BTreeMap<u16, ProbePassage>> {
        self.hops.get(&hop)?.seen(leg)
    }

    /// Returns the VLAN id of the tag that a probe came in with.
    pub fn tag(&self, probe: u16, leg: Echo) -> Option<u16> {
        self.seen(Hop::NetifIn, leg)?.get(&probe)?.tag()
    }
}
