//! Look-ups about finding neighbours: whom a route asks for, which devices have the addresses of the run, and their states.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use probe_ebpf::Family;

use crate::{
    host::{link_facts::Links, namespace::Namespace, next_hop, or_log, settings},
    model::trace::Finding,
};

/// How many other namespaces of this kernel are asked for an address.
const MOST_NAMESPACES: usize = 64;

/// What is looked up in one namespace.
#[derive(Clone, Debug)]
pub(in crate::watch) struct NeighbourLookup {
    /// Source and destination of packets whose next hop is wanted.
    pub(in crate::watch) ways: Vec<(IpAddr, IpAddr)>,
    /// Addresses whose devices are wanted.
    pub(in crate::watch) addresses: Vec<IpAddr>,
    /// Devices whose addresses are wanted, whoever was asked for them.
    pub(in crate::watch) addressed: Vec<String>,
    /// Devices of which everything is wanted.
    pub(in crate::watch) interfaces: Vec<String>,
    /// Of which IP version settings are wanted.
    pub(in crate::watch) family: Family,
}

impl NeighbourLookup {
    /// Looks everything up in the calling thread's namespace.
    pub(in crate::watch) fn found(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let hops = self.ways.iter().filter_map(|(from, to)| next_hop::look_up(*from, *to));
        let hops: Vec<_> = hops.collect();
        let Some(links) = or_log("links", Links::read()) else { return findings };
        let mut holders = or_log("addresses", links.holders(&self.addresses)).unwrap_or_default();
        let of = |interface: &String| or_log("addresses", links.addresses_of(interface)).unwrap_or_default();
        for holder in self.addressed.iter().flat_map(of) {
            if !holders.contains(&holder) {
                holders.push(holder);
            }
        }
        let mut interfaces: Vec<&str> = self.interfaces.iter().map(String::as_str).collect();
        interfaces.extend(hops.iter().map(|hop| hop.interface.as_str()));
        interfaces.extend(holders.iter().map(|holder| holder.interface.as_str()));
        let mut told = BTreeSet::new();
        interfaces.retain(|interface| told.insert(*interface));
        findings.extend(interfaces.iter().filter_map(|interface| links.named(interface)).map(Finding::Device));
        findings.extend(links.bridged_with(&interfaces).into_iter().map(Finding::Device));
        for interface in interfaces {
            findings.extend(settings::look_up(self.family, Some(interface)));
        }
        findings.extend(holders.into_iter().map(Finding::Holder));
        findings.extend(hops.into_iter().map(Finding::NextHop));
        findings
    }
}

/// Returns which other namespaces of this kernel have one of `addresses`.
pub(in crate::watch) fn elsewhere(addresses: &[IpAddr], here: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for namespace in Namespace::all(here, MOST_NAMESPACES) {
        let asked = namespace.run(|| Links::read().and_then(|links| links.holders(addresses)));
        let holders = or_log("namespace", asked.and_then(std::convert::identity)).unwrap_or_default();
        findings.extend(holders.into_iter().map(|mut holder| {
            holder.netns = Some(namespace.name.clone());
            holder.inode = namespace.inode;
            holder.enter = Some(namespace.enter.clone());
            Finding::Holder(holder)
        }));
    }
    findings
}

/// Returns the unspecified address of an IP version.
pub(in crate::watch) fn nowhere(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}
