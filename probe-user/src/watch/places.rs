//! Other network namespaces of this kernel that a run's probes crossed or ended in: what they are called, and what is
//! found in them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use probe_ebpf::Family;

use crate::{
    ebpf::crossings::SiteCrossings,
    host::{
        chains,
        device::{self, Device},
        namespace::Namespace,
        neighbour, or_log, policy, route, settings,
    },
    model::{
        request::{EchoFlow, HostRole},
        trace::{Drop, Finding, HopTrace, PlaceTrace, PortTrace},
    },
};

use super::lookups::{self, keys_of, programs};

/// How many places are told at most.
const MAX_PLACES: usize = 16;

/// The places of one run.
pub(super) struct Places {
    flow: EchoFlow,
    role: HostRole,
    known: BTreeMap<u32, Known>,
    drops: BTreeMap<u32, Vec<(u32, Drop)>>,
}

/// What is known of a namespace, looked up once.
struct Known {
    namespace: Option<Namespace>,
    interfaces: BTreeMap<u32, String>,
}

impl Places {
    /// Begins with nothing.
    pub(super) fn new(flow: EchoFlow, role: HostRole) -> Self {
        Self { flow, role, known: BTreeMap::new(), drops: BTreeMap::new() }
    }

    /// Takes note of a probe that was freed at an interface of the namespace `netns`.
    pub(super) fn dropped(&mut self, netns: u32, ifindex: u32, drop: Drop) {
        self.drops.entry(netns).or_default().push((ifindex, drop));
    }

    /// What was seen so far at `sites`, without what would have to be looked up; `full`: there may be more.
    pub(super) fn look(&mut self, sites: &[&SiteCrossings], full: bool) -> Vec<PlaceTrace> {
        let mut inodes: Vec<u32> = sites.iter().map(|site| site.netns).chain(self.drops.keys().copied()).collect();
        let mut told = Vec::new();
        inodes.retain(|inode| {
            !told.contains(inode) && {
                told.push(*inode);
                true
            }
        });
        if inodes.len() > MAX_PLACES || full {
            tracing::warn!(
                "probes cross more than {MAX_PLACES} network namespaces, or too many interfaces of them: the rest is not told"
            );
        }
        inodes.truncate(MAX_PLACES);
        inodes.into_iter().map(|inode| self.place(inode, sites)).collect()
    }

    /// Adds to each of `places` what is looked up in it.
    pub(super) fn finish(&self, places: &mut [PlaceTrace]) {
        for place in places {
            let known = u32::try_from(place.netns).ok().and_then(|inode| self.known.get(&inode));
            let Some(namespace) = known.and_then(|known| known.namespace.as_ref()) else { continue };
            let interfaces: Vec<String> = place.ports.iter().map(|port| port.interface.clone()).collect();
            let found = namespace.run(|| self.found(&interfaces, &place.drops));
            place.findings = or_log("place", found).unwrap_or_default();
        }
    }

    fn place(&mut self, inode: u32, sites: &[&SiteCrossings]) -> PlaceTrace {
        let known = self.known.entry(inode).or_insert_with(|| Known::of(inode));
        let here = sites.iter().copied().filter(|site| site.netns == inode);
        let ports = here.map(|site| port(known, site)).collect();
        let drops = self.drops.get(&inode).into_iter().flatten();
        let drops = drops.map(|(ifindex, drop)| Drop {
            interface: (*ifindex != 0).then(|| known.interface(*ifindex)),
            ..drop.clone()
        });
        PlaceTrace {
            drops: drops.collect(),
            ports,
            name: known.namespace.as_ref().map_or_else(|| inode.to_string(), |namespace| namespace.name.clone()),
            netns: inode.into(),
            enter: known.namespace.as_ref().map(|namespace| namespace.enter.clone()),
            of_peer: false,
            findings: Vec::new(),
        }
    }

    /// What ends packets in the calling thread's namespace, which they cross by these interfaces.
    fn found(&self, interfaces: &[String], drops: &[Drop]) -> Vec<Finding> {
        let (family, first) = (self.flow.family(), interfaces.first().map(String::as_str));
        let nowhere = match family {
            Family::V4 => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        // The run's target and its sender, whichever end this kernel is.
        let (target, sender) = match self.role {
            HostRole::Sender => (self.flow.remote, self.flow.local),
            HostRole::Receiver => (self.flow.local, self.flow.remote),
        };
        let mut findings = settings::look_up(family, interfaces.iter().map(String::as_str));
        findings.extend(route::own_address(target));
        for end in [target, sender].into_iter().filter(|end| !end.is_unspecified()) {
            findings.extend(route::look_up(nowhere, end));
            findings.extend(neighbour::look_up(nowhere, end));
        }
        findings.extend(policy::choices(&keys_of(drops)));
        for interface in interfaces {
            findings.extend(or_log("link", Device::find(interface)).map(|device| Finding::Link {
                interface: device.name,
                up: device.up,
                carrier: device.up && device.carrier,
            }));
            findings.extend(lookups::tun(interface));
            findings.extend(programs::look_up(Some(interface)));
        }
        findings.extend(chains::look_up(family, first));
        findings
    }
}

impl Known {
    fn of(inode: u32) -> Self {
        Self { namespace: Namespace::find(inode.into()), interfaces: BTreeMap::new() }
    }

    fn interface(&mut self, ifindex: u32) -> String {
        if let Some(name) = self.interfaces.get(&ifindex) {
            return name.clone();
        }
        let inside = || device::name_of(ifindex).ok();
        let entered = self.namespace.as_ref().and_then(|namespace| or_log("interface", namespace.run(inside)));
        let Some(name) = entered.flatten() else { return format!("interface {ifindex}") };
        self.interfaces.insert(ifindex, name.clone());
        name
    }
}

fn port(known: &mut Known, site: &SiteCrossings) -> PortTrace {
    let hop = |(requests, replies): &(_, _)| HopTrace::Watched {
        requests: Clone::clone(requests),
        replies: Clone::clone(replies),
    };
    PortTrace {
        interface: known.interface(site.ifindex),
        hops: site.hops.iter().map(|(at, seen)| (at.name().to_owned(), hop(seen))).collect(),
    }
}
