//! The entries of connection tracking that a run's echoes belong to, at each watched place, before the run and after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use probe_ebpf::Echo;

use crate::{
    host::{conntrack, device, namespace::Namespace, or_log, route},
    model::{
        request::EchoFlow,
        trace::{Finding, HopTrace, PlaceTrace, TrackedEcho, TrackingFacts},
    },
};

/// How many entries of one place are told at most.
const MOST_ENTRIES: usize = 8;

/// How many further network namespaces are asked before a run.
const MOST_PLACES: usize = 16;

/// The entries that were there before the first packet of a run, by network namespace.
#[derive(Debug, Default)]
pub(super) struct TrackedBefore {
    entries: BTreeMap<u64, Vec<TrackedEcho>>,
}

impl TrackedBefore {
    /// Asks this network namespace and, where a run is watched `everywhere`, those that it likely crosses.
    pub(super) fn read(flow: &EchoFlow, everywhere: bool) -> Self {
        if !conntrack::is_there() || flow.local.is_unspecified() || flow.remote.is_unspecified() {
            return Self::default();
        }
        let own = device::netns_inode().unwrap_or_default();
        let mut entries = BTreeMap::from([(own, of_flow(flow))]);
        if everywhere {
            for namespace in Namespace::well_known(own, MOST_PLACES) {
                let found = or_log("conntrack", namespace.run(|| of_flow(flow))).unwrap_or_default();
                entries.insert(namespace.inode, found);
            }
        }
        entries.retain(|_, entries| !entries.is_empty());
        Self { entries }
    }

    fn had(&self, netns: u64, entry: &TrackedEcho) -> bool {
        let same = |old: &TrackedEcho| (old.original, old.reply, old.zone) == (entry.original, entry.reply, entry.zone);
        self.entries.get(&netns).is_some_and(|entries| entries.iter().any(same))
    }
}

/// Returns the entries of requests either way between the two ends.
fn of_flow(flow: &EchoFlow) -> Vec<TrackedEcho> {
    let ways = [(flow.local, flow.remote), (flow.remote, flow.local)];
    let of = |id: u16| ways.into_iter().filter_map(move |(from, to)| conntrack::of_request(from, to, id));
    flow.ids.iter().copied().flat_map(of).collect()
}

/// What the packets of a run looked like at one place: by that their entries are known.
#[derive(Debug, Default)]
pub(super) struct SeenTuples {
    seen: BTreeSet<(IpAddr, IpAddr, u16)>,
}

impl SeenTuples {
    /// Begins with those of `flow`.
    pub(super) fn of_flow(flow: &EchoFlow) -> Self {
        let seen = flow.ids.iter().map(|id| (flow.local, flow.remote, *id)).collect();
        Self { seen }
    }

    /// Adds what the hops of a host or device saw; an address that was not told is that of `flow`.
    pub(super) fn add<'a>(&mut self, hops: impl Iterator<Item = &'a HopTrace>, flow: &EchoFlow) {
        for hop in hops {
            for leg in [Echo::Request, Echo::Reply] {
                for passage in hop.seen(leg).into_iter().flat_map(BTreeMap::values) {
                    let id = if passage.id == 0 { flow.ids.first().copied().unwrap_or_default() } else { passage.id };
                    for (from, to) in [(flow.local, flow.remote), (flow.remote, flow.local)] {
                        self.seen.insert((passage.source.unwrap_or(from), passage.destination.unwrap_or(to), id));
                    }
                }
            }
        }
    }

    /// Adds what a place saw.
    pub(super) fn add_place(&mut self, place: &PlaceTrace, flow: &EchoFlow) {
        let ports = place.ports.iter().flat_map(|port| port.hops.values());
        let hooks = place.hooks.iter().flat_map(|hooks| hooks.hops.values());
        self.add(ports.chain(hooks), flow);
        self.seen.extend(place.drops.iter().map(|drop| (drop.source, drop.destination, drop.id)));
    }

    fn has(&self, entry: &TrackedEcho) -> bool {
        [entry.original, entry.reply].iter().any(|way| {
            let there = (way.source, way.destination, way.id);
            let back = (way.destination, way.source, way.id);
            self.seen.contains(&there) || self.seen.contains(&back)
        })
    }
}

/// Looks up what connection tracking of the calling thread's network namespace knows of packets that look like `seen`.
pub(super) fn look_up(flow: &EchoFlow, seen: &SeenTuples, before: &TrackedBefore, netns: u64) -> Option<Finding> {
    if !conntrack::is_there() {
        return None;
    }
    let all = or_log("conntrack", conntrack::echoes(flow.family()))?;
    let ours = all.into_iter().filter(|entry| seen.has(entry)).take(MOST_ENTRIES);
    let entries = ours.map(|entry| TrackedEcho {
        before: before.had(netns, &entry),
        own_source: entry.sent_as().and_then(is_own),
        ..entry
    });
    let entries = entries.collect();
    let (count, most) = conntrack::fill();
    Some(Finding::Tracking(TrackingFacts { entries, count, most }))
}

fn is_own(address: IpAddr) -> Option<bool> {
    match route::own_address(address) {
        Some(Finding::Address { own, .. }) => Some(own),
        _ => None,
    }
}
