//! Look-ups about finding neighbours: which one a route asks for, which devices have the addresses of the run, and
//! their states.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use probe_ebpf::Family;

use crate::{
    host::{link_facts::Links, namespace::Namespace, next_hop, or_log, route, settings},
    model::{
        prefix::shares,
        request::SocketKey,
        trace::{AddressHolder, Finding, NeighbourHop, NeighbourKind, NeighbourPacket},
    },
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
    /// Devices about which everything is wanted.
    pub(in crate::watch) interfaces: Vec<String>,
    /// The IP version whose settings are wanted.
    pub(in crate::watch) family: Family,
    /// What else routing knows of the packets.
    pub(in crate::watch) key: SocketKey,
}

impl NeighbourLookup {
    /// Looks everything up in the calling thread's namespace.
    pub(in crate::watch) fn found(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let hops = self.ways.iter().filter_map(|(from, to)| next_hop::look_up(*from, *to, self.key));
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
        for hop in &hops {
            let own = or_log("addresses", links.addresses_of(&hop.interface)).unwrap_or_default();
            let near = |holder: &AddressHolder| holder.address.is_some_and(|own| shares(own, hop.next, holder.prefix));
            if !own.iter().any(near) {
                // A gateway that is on the link of another device than the one by which its route leads.
                let others = or_log("addresses", links.covering(hop.next)).unwrap_or_default();
                holders.extend(others.into_iter().filter(|other| other.interface != hop.interface).take(MOST_ASKERS));
            }
        }
        findings.extend(holders.into_iter().map(Finding::Holder));
        findings.extend(hops.into_iter().map(Finding::NextHop));
        findings
    }
}

/// How many hosts that asked for an address are looked up at most.
const MOST_ASKERS: usize = 4;

/// Returns how those who asked for an address of this namespace are reached from here, except the `ends` of the run, whose routes
/// are looked up anyway: filters of the reverse path and of ARP decide by that.
pub(in crate::watch) fn ways_back(packets: &[NeighbourPacket], ends: &[IpAddr]) -> Vec<Finding> {
    let came = packets.iter().filter(|packet| (packet.kind, packet.hop) == (NeighbourKind::Asks, NeighbourHop::In));
    let askers: BTreeSet<IpAddr> = came.map(|packet| packet.asker).collect();
    let others = askers.into_iter().filter(|asker| !asker.is_unspecified() && !ends.contains(asker));
    let of = |asker: IpAddr| if asker.is_ipv4() { nowhere(Family::V4) } else { nowhere(Family::V6) };
    others.take(MOST_ASKERS).filter_map(|asker| route::look_up(of(asker), asker, SocketKey::default())).collect()
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
