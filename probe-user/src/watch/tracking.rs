//! The entries of connection tracking that a run's echoes belong to, at each watched place, before the run and after it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
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

/// How many entries of one place are reported at most.
const MOST_ENTRIES: usize = 8;

/// How many further network namespaces are asked before a run.
const MOST_PLACES: usize = 64;

/// The entries that were there before the first packet of a run, by network namespace.
#[derive(Debug, Default)]
pub(super) struct TrackedBefore {
    ids: Vec<u16>,
    entries: BTreeMap<u64, Vec<TrackedEcho>>,
}

impl TrackedBefore {
    /// Asks this network namespace and, if a run is watched `everywhere`, the others that have a name or a process.
    pub(super) fn read(flow: &EchoFlow, everywhere: bool) -> Self {
        if !conntrack::is_there() || flow.ids.is_empty() {
            return Self::default();
        }
        let asked = || Some((or_log("conntrack", device::netns_inode())?, or_log("conntrack", of_ids(flow))?));
        let own = asked();
        let inode = own.as_ref().map_or(0, |(inode, _)| *inode);
        let others = if everywhere { Namespace::in_each(inode, MOST_PLACES, asked) } else { Vec::new() };
        Self { ids: flow.ids.clone(), entries: own.into_iter().chain(others.into_iter().flatten()).collect() }
    }

    /// Returns the entries of packets that look like `seen` which that namespace had.
    ///
    /// # Errors
    /// Why they are not known, as a sentence without its full stop.
    fn of(&self, netns: u64, seen: &SeenTuples) -> Result<Vec<TrackedEcho>, String> {
        if self.ids.is_empty() {
            return Err("the id of these echoes was not known before".to_owned());
        }
        let entries = self.entries.get(&netns).ok_or_else(|| {
            format!(
                "this network namespace was not asked before the run: it had no name and no process, or came later, or is \
                 beyond the first {MOST_PLACES}"
            )
        })?;
        if let Some(id) = seen.ids().find(|id| !self.ids.contains(id)) {
            return Err(format!("packets have id {id} there, which was not known before the run"));
        }
        let old = entries.iter().filter(|entry| seen.has(entry)).take(MOST_ENTRIES);
        Ok(old.map(|entry| TrackedEcho { before: true, ..entry.clone() }).collect())
    }
}

/// Returns the entries of ICMP echo that packets with the ids of `flow` made, in the calling thread's network namespace.
fn of_ids(flow: &EchoFlow) -> io::Result<Vec<TrackedEcho>> {
    let of = |id: &u16| conntrack::echoes(flow.family(), Some(*id));
    Ok(flow.ids.iter().map(of).collect::<io::Result<Vec<_>>>()?.concat())
}

/// What the packets of a run looked like at one place, which identifies their entries.
#[derive(Debug, Default)]
pub(super) struct SeenTuples {
    seen: BTreeSet<(IpAddr, IpAddr, u16)>,
}

impl SeenTuples {
    /// Creates it with those of `flow`.
    pub(super) fn of_flow(flow: &EchoFlow) -> Self {
        let seen = flow.ids.iter().map(|id| (flow.local, flow.remote, *id)).collect();
        Self { seen }
    }

    /// Adds what the hops of a host or device saw; an address that was not reported is that of `flow`.
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

    fn ids(&self) -> impl Iterator<Item = u16> {
        self.seen.iter().map(|(.., id)| *id)
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
    let all = or_log("conntrack", conntrack::echoes(flow.family(), None))?;
    let (old, before_unknown) = match before.of(netns, seen) {
        Ok(old) => (Some(old), None),
        Err(why) => (None, Some(why)),
    };
    let had = |entry: &TrackedEcho| {
        let same = |old: &TrackedEcho| (old.original, old.reply, old.zone) == (entry.original, entry.reply, entry.zone);
        old.iter().flatten().any(same)
    };
    let ours = all.into_iter().filter(|entry| seen.has(entry)).take(MOST_ENTRIES);
    let entries =
        ours.map(|entry| TrackedEcho { before: had(&entry), own_source: entry.sent_as().and_then(is_own), ..entry });
    let entries = entries.collect();
    let (count, most) = conntrack::fill();
    Some(Finding::Tracking(TrackingFacts { entries, before: old, before_unknown, count, most }))
}

fn is_own(address: IpAddr) -> Option<bool> {
    match route::own_address(address) {
        Some(Finding::Address { own, .. }) => Some(own),
        _ => None,
    }
}
