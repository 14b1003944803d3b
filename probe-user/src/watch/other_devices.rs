//! What passed devices of the watched network namespace other than the one that the hops are attached to.
//!
//! Routing by mark, source or interface may send probes by another device than a look-up says, and replies may come
//! back by another one than requests left by. The tracepoints see them there; XDP and tc do not, since they are
//! attached to one device.

use std::collections::{BTreeMap, BTreeSet};

use probe_ebpf::{Echo, Hop, contract::crossing::CROSSING_HOPS};

use crate::{
    ebpf::{crossings::SiteCrossings, journeys::PassagesByProbe},
    host::{
        device::{self, Device},
        or_log,
    },
    model::trace::{HopTrace, OtherDevice, PortTrace},
};

/// Adds to `hops` what the devices among `sites` saw, all of them of this namespace, and returns which those are.
///
/// A device that carries the watched one (the port of a bridge, the card of a VLAN) is not another way: what passes it
/// still has to pass the watched one.
pub(super) fn merge(hops: &mut BTreeMap<Hop, HopTrace>, sites: &[SiteCrossings], watched: u32) -> Vec<OtherDevice> {
    if sites.is_empty() {
        return Vec::new();
    }
    let devices = or_log("interfaces", Device::all()).unwrap_or_default();
    let others = sites.iter().filter_map(|site| {
        let device = devices.iter().find(|device| device.ifindex == site.ifindex)?;
        (!carries(device, watched, &devices)).then_some((device, site))
    });
    let own = hops.clone();
    let mut told = Vec::new();
    for (device, site) in others {
        for (hop, seen) in &site.hops {
            add(hops, *hop, seen);
        }
        let beside = is_beside(device, watched, &devices);
        let is_redirected = |way: &OtherDevice| !beside && !way.inwards && is_redirected(way, &own, watched, sites);
        told.extend(
            ways(&device.name, site).into_iter().map(|way| OtherDevice { redirected: is_redirected(&way), ..way }),
        );
    }
    told
}

/// Returns the `watched` device and those of `sites`, each with what it saw, if probes may have crossed this namespace:
/// they were at other devices too. `hops` are those of the watched one.
pub(super) fn ports(hops: &BTreeMap<Hop, HopTrace>, sites: &[SiteCrossings], watched: u32) -> Vec<PortTrace> {
    if sites.is_empty() {
        return Vec::new();
    }
    let name = |ifindex: u32| device::name_of(ifindex).unwrap_or_else(|_| format!("interface {ifindex}"));
    let own = CROSSING_HOPS.iter().filter_map(|hop| Some((*hop, hops.get(hop)?.clone())));
    let own = (watched != 0).then(|| PortTrace { interface: name(watched), hops: own.collect() });
    own.into_iter().chain(sites.iter().map(|site| port(name(site.ifindex), site, &BTreeMap::new()))).collect()
}

/// Returns a device with what its hops saw, except those that are `blind`.
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

/// Reports whether both are ports of one bridge, or made on one device: packets go from one to the other without routing.
fn is_beside(device: &Device, watched: u32, devices: &[Device]) -> bool {
    let other = devices.iter().find(|one| one.ifindex == watched);
    let shared = |of: fn(&Device) -> Option<u32>| of(device).is_some() && other.and_then(of) == of(device);
    shared(|one| one.master) || shared(|one| one.lower)
}

/// Reports whether the packets of `way`, which left by another device, were sent there past routing. `own`: what the
/// hops saw before other devices were added; those of netfilter see every device.
fn is_redirected(way: &OtherDevice, own: &BTreeMap<Hop, HopTrace>, watched: u32, sites: &[SiteCrossings]) -> bool {
    let passage = |hop: Hop, probe: u16| own.get(&hop)?.seen(way.leg)?.get(&probe);
    let stands = |hop: Hop| own.get(&hop).is_some_and(|trace| trace.seen(way.leg).is_some());
    let came_by_another = |probe: u16| {
        let entered = sites.iter().filter_map(|site| site.hops.get(&Hop::NetifIn));
        entered
            .map(|(requests, replies)| if way.leg == Echo::Request { requests } else { replies })
            .any(|seen| seen.contains_key(&probe))
    };
    // Routing chose the watched device, and they never came to its queue.
    let out = |probe: u16| {
        let chosen = match passage(Hop::NfPostroutingLast, probe) {
            Some(passage) => passage.ifindex == watched,
            None => !stands(Hop::NfPostroutingLast) && passage(Hop::TcOut, probe).is_some(),
        };
        chosen && stands(Hop::DevQueue) && passage(Hop::DevQueue, probe).is_none() && !came_by_another(probe)
    };
    // They came in by the watched device, and netfilter never saw them.
    let through = |probe: u16| {
        let entered = passage(Hop::NetifIn, probe).is_some();
        let routed = [Hop::NfPreroutingFirst, Hop::NfForwardFirst, Hop::NfOutputFirst, Hop::NfPostroutingFirst];
        entered && stands(Hop::NfPreroutingFirst) && routed.iter().all(|hop| passage(*hop, probe).is_none())
    };
    !way.probes.is_empty() && way.probes.iter().all(|probe| out(*probe) || through(*probe))
}

fn add(hops: &mut BTreeMap<Hop, HopTrace>, hop: Hop, seen: &(PassagesByProbe, PassagesByProbe)) {
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
                ways.push(OtherDevice { interface: interface.to_owned(), leg, inwards, probes, redirected: false });
            }
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::trace::ProbePassage;

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

    fn site(hops: BTreeMap<Hop, (PassagesByProbe, PassagesByProbe)>) -> SiteCrossings {
        SiteCrossings { netns: 1, ifindex: 7, layers: 0, hops }
    }

    #[test]
    fn what_passed_there_passed_the_hop() {
        let passage = ProbePassage { first_ns: 5, times: 1, ..ProbePassage::default() };
        let site = site([(Hop::NetifIn, (BTreeMap::new(), [(3, passage)].into()))].into());
        let watched = HopTrace::Watched { requests: BTreeMap::new(), replies: BTreeMap::new() };
        let mut hops: BTreeMap<Hop, HopTrace> = [(Hop::NetifIn, watched)].into();
        for (hop, seen) in &site.hops {
            add(&mut hops, *hop, seen);
        }
        let Some(HopTrace::Watched { requests, replies }) = hops.get(&Hop::NetifIn) else { panic!("it is there") };
        assert!(requests.is_empty() && replies.contains_key(&3));
        let expected = OtherDevice {
            interface: "eth1".into(),
            leg: Echo::Reply,
            inwards: true,
            probes: [3].into(),
            redirected: false,
        };
        assert_eq!(ways("eth1", &site), [expected]);
    }

    fn trace(ifindex: u32) -> HopTrace {
        let passage = ProbePassage { first_ns: 1, times: 1, ifindex, ..ProbePassage::default() };
        HopTrace::Watched { requests: [(3, passage)].into(), replies: BTreeMap::new() }
    }

    #[test]
    fn what_routing_had_for_the_watched_device_and_another_one_sent_was_redirected() {
        let none = || HopTrace::Watched { requests: BTreeMap::new(), replies: BTreeMap::new() };
        let way = OtherDevice {
            interface: "d0".into(),
            leg: Echo::Request,
            inwards: false,
            probes: [3].into(),
            redirected: false,
        };
        let told = |hops: &[(Hop, HopTrace)], sites: &[SiteCrossings]| {
            is_redirected(&way, &hops.iter().cloned().collect(), 2, sites)
        };
        let chosen = |ifindex| (Hop::NfPostroutingLast, trace(ifindex));
        assert!(told(&[chosen(2), (Hop::DevQueue, none())], &[]));
        // Routing chose the other device, by a mark or a source.
        assert!(!told(&[chosen(5), (Hop::DevQueue, none())], &[]));
        // They left by the watched one too: a copy.
        assert!(!told(&[chosen(2), (Hop::DevQueue, trace(2))], &[]));
        // Nobody looked whether they did.
        assert!(!told(&[chosen(2)], &[]));
        // Out of the watched one, in again by its other end, and on by a bridge.
        let seen = [(3, ProbePassage::default())].into();
        let other_end = site([(Hop::NetifIn, (seen, BTreeMap::new()))].into());
        assert!(!told(&[chosen(2), (Hop::DevQueue, none())], &[other_end]));
        let entered = (Hop::NetifIn, trace(2));
        assert!(told(&[entered.clone(), (Hop::NfPreroutingFirst, none())], &[]));
        assert!(!told(&[entered.clone(), (Hop::NfPreroutingFirst, trace(2))], &[]), "forwarded");
        assert!(!told(&[entered], &[]), "nobody looked whether netfilter had them");
    }
}
