//! What passed other devices of the watched network namespace than the one that the hops stand at.
//!
//! Routing by mark, source or interface may send probes by another device than a look-up says, and replies may come back by
//! another than requests left by. The tracepoints see them there; XDP and tc do not, since they stand at one device.

use std::collections::{BTreeMap, BTreeSet};

use probe_ebpf::{Echo, Hop, contract::crossing::CROSSING_HOPS};

use crate::{
    ebpf::crossings::SiteCrossings,
    host::{
        device::{self, Device},
        or_log,
    },
    model::trace::{HopTrace, OtherDevice, PortTrace},
};

/// Adds to `hops` what the devices among `sites` saw, all of them of this namespace, and returns which those are.
///
/// A device that carries the watched one (the port of a bridge, the card of a VLAN) is no other way: what passes it has yet
/// to pass the watched one.
pub(super) fn merge(hops: &mut BTreeMap<Hop, HopTrace>, sites: &[SiteCrossings], watched: u32) -> Vec<OtherDevice> {
    if sites.is_empty() {
        return Vec::new();
    }
    let devices = or_log("interfaces", Device::all()).unwrap_or_default();
    let others = sites.iter().filter_map(|site| {
        let device = devices.iter().find(|device| device.ifindex == site.ifindex)?;
        (!carries(device, watched, &devices)).then_some((device, site))
    });
    let mut told = Vec::new();
    for (device, site) in others {
        for (hop, seen) in &site.hops {
            add(hops, *hop, seen);
        }
        told.extend(ways(&device.name, site));
    }
    told
}

/// Returns the `watched` device and those of `sites`, each with what it saw, where probes may have crossed this namespace: they
/// were at other devices too. `hops` are those of the watched one.
pub(super) fn ports(hops: &BTreeMap<Hop, HopTrace>, sites: &[SiteCrossings], watched: u32) -> Vec<PortTrace> {
    if sites.is_empty() {
        return Vec::new();
    }
    let name = |ifindex: u32| device::name_of(ifindex).unwrap_or_else(|_| format!("interface {ifindex}"));
    let own = CROSSING_HOPS.iter().filter_map(|hop| Some((*hop, hops.get(hop)?.clone())));
    let own = (watched != 0).then(|| PortTrace { interface: name(watched), hops: own.collect() });
    own.into_iter().chain(sites.iter().map(|site| port(name(site.ifindex), site, &BTreeMap::new()))).collect()
}

/// Returns a device with what its hops saw, but for those that are `blind`.
pub(super) fn port(interface: String, site: &SiteCrossings, blind: &BTreeMap<Hop, String>) -> PortTrace {
    let hop = |(at, (requests, replies)): (&Hop, &(_, _))| match blind.get(at) {
        Some(why) => HopTrace::Blind { why: why.clone() },
        None => HopTrace::Watched { requests: Clone::clone(requests), replies: Clone::clone(replies) },
    };
    let hops = site.hops.iter().map(|seen| (*seen.0, hop(seen))).collect();
    PortTrace { interface, hops }
}

/// Returns whether `device` lies beneath the interface `watched`, or above it: its packets pass both.
fn carries(device: &Device, watched: u32, devices: &[Device]) -> bool {
    let beneath = |upper: u32, lower: &Device| {
        let made_on = devices.iter().find(|one| one.ifindex == upper).and_then(|one| one.lower);
        lower.master == Some(upper) || made_on == Some(lower.ifindex)
    };
    let other = devices.iter().find(|one| one.ifindex == watched);
    beneath(watched, device)
        || other.is_some_and(|other| beneath(device.ifindex, other))
        // A bridge on a VLAN or bond: whatever belongs to the same stack.
        || device.master.is_some_and(|master| devices.iter().any(|one| one.ifindex == master && one.lower == Some(watched)))
        || devices.iter().any(|one| beneath(watched, one) && beneath(one.ifindex, device))
}

fn add(
    hops: &mut BTreeMap<Hop, HopTrace>,
    hop: Hop,
    seen: &(crate::ebpf::journeys::PassagesByProbe, crate::ebpf::journeys::PassagesByProbe),
) {
    let Some(HopTrace::Watched { requests, replies }) = hops.get_mut(&hop) else { return };
    for (all, more) in [(requests, &seen.0), (replies, &seen.1)] {
        for (probe, passage) in more {
            all.entry(*probe).or_insert_with(|| *passage);
        }
    }
}

/// Returns which probes came in by that device, and which left by it.
fn ways(interface: &str, site: &SiteCrossings) -> Vec<OtherDevice> {
    let mut ways = Vec::new();
    for inwards in [true, false] {
        for leg in [Echo::Request, Echo::Reply] {
            let of_way = site.hops.iter().filter(|(hop, _)| (**hop == Hop::NetifIn) == inwards);
            let probes: BTreeSet<u16> = of_way
                .flat_map(
                    |(_, (requests, replies))| if leg == Echo::Request { requests.keys() } else { replies.keys() },
                )
                .copied()
                .collect();
            if !probes.is_empty() {
                ways.push(OtherDevice { interface: interface.to_owned(), leg, inwards, probes });
            }
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(ifindex: u32, master: Option<u32>, lower: Option<u32>) -> Device {
        Device { name: format!("d{ifindex}"), ifindex, master, lower, ..Device::default() }
    }

    #[test]
    fn a_port_and_a_card_carry_what_is_above_and_a_second_card_does_not() {
        let devices =
            [device(2, Some(3), None), device(3, None, None), device(4, None, Some(2)), device(5, None, None)];
        let carries = |at: usize, watched| carries(&devices[at], watched, &devices);
        assert!(carries(0, 3) && carries(1, 2), "a bridge and its port");
        assert!(carries(0, 4) && carries(2, 2), "a VLAN and its card");
        assert!(!carries(3, 2) && !carries(3, 3));
    }

    #[test]
    fn what_passed_there_passed_the_hop() {
        let passage = crate::model::trace::ProbePassage { first_ns: 5, times: 1, ..Default::default() };
        let site = SiteCrossings {
            netns: 1,
            ifindex: 7,
            layers: 0,
            hops: [(Hop::NetifIn, (BTreeMap::new(), [(3, passage)].into()))].into(),
        };
        let watched = HopTrace::Watched { requests: BTreeMap::new(), replies: BTreeMap::new() };
        let mut hops: BTreeMap<Hop, HopTrace> = [(Hop::NetifIn, watched)].into();
        for (hop, seen) in &site.hops {
            add(&mut hops, *hop, seen);
        }
        let Some(HopTrace::Watched { requests, replies }) = hops.get(&Hop::NetifIn) else { panic!("it is there") };
        assert!(requests.is_empty() && replies.contains_key(&3));
        let expected = OtherDevice { interface: "eth1".into(), leg: Echo::Reply, inwards: true, probes: [3].into() };
        assert_eq!(ways("eth1", &site), [expected]);
    }
}
