//! The run's probes inside the packets of tunnels: what was seen of them in every network namespace of this kernel, layer by
//! layer, and what was looked up there about the packets that carry them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use probe_ebpf::{Echo, Hop, tunnel::Tunnels};

use super::{
    drops::DropNames,
    hooks::{CARRIED, PlaceHooks},
    neighbours::NeighbourLog,
    places::Places,
};
use crate::{
    ebpf::crossings::SiteCrossings,
    host::{device, namespace::Namespace, or_log, tunnel},
    model::{
        request::{EchoFlow, HostRole, WatchRequest},
        trace::{Drop, Finding, PlaceTrace, TunnelFacts, tunnel::ANY_ADDRESS},
    },
};

/// In how many other namespaces tunnels are looked for at most.
pub(super) const MAX_NAMESPACES: usize = 64;

/// Returns the tunnels of each namespace that a run may come to, by its inode, as they are before the first probe: of the calling
/// thread's first, and nothing of others unless those are watched.
pub(super) fn tunnels_before(request: &WatchRequest) -> Vec<(u64, Vec<TunnelFacts>)> {
    let here = device::netns_inode().unwrap_or_default();
    let devices = || {
        let devices = or_log("tunnels", tunnel::devices()).unwrap_or_default();
        (device::netns_inode().unwrap_or_default(), devices)
    };
    if !request.crosses() {
        return vec![(here, Vec::new())];
    }
    let mut all = vec![devices()];
    if request.everywhere {
        // Which kinds are opened is fixed when the programs are loaded.
        all.extend(Namespace::in_each(here, MAX_NAMESPACES, devices));
    }
    all
}

/// The layers of one run, outwards from 1.
pub(super) struct Carried {
    layers: BTreeMap<u8, Places>,
    role: HostRole,
    netns: u32,
    ids: Vec<u16>,
    blind: BTreeMap<Hop, String>,
    /// Whether the run's own namespace has tunnels.
    own: bool,
    /// The tunnels of each namespace as they were before the first probe, by its inode.
    before: Vec<(u64, Vec<TunnelFacts>)>,
}

impl Carried {
    /// Creates it with nothing seen. `before` are the tunnels of each namespace; the run's own is reported if it
    /// has any.
    pub(super) fn new(
        (role, netns): (HostRole, u64),
        ids: Vec<u16>,
        blind: BTreeMap<Hop, String>,
        before: Vec<(u64, Vec<TunnelFacts>)>,
    ) -> Self {
        let own = before.iter().any(|(inode, tunnels)| *inode == netns && !tunnels.is_empty());
        Self { layers: BTreeMap::new(), role, netns: netns as u32, ids, blind, own, before }
    }

    /// Notes a probe that was freed with this many layers around it.
    pub(super) fn dropped(&mut self, layers: u8, (netns, ifindex): (u32, u32), drop: Drop) {
        self.layer(layers).dropped(netns, ifindex, drop);
    }

    /// Returns what was seen so far at `sites`, without what would have to be looked up. `tunnelled` are the namespaces that
    /// probes crossed and that have tunnels: told of too, since their devices may send nothing.
    pub(super) fn look(
        &mut self,
        sites: Vec<SiteCrossings>,
        tunnelled: &BTreeSet<u32>,
        mut hooks: Option<(&mut PlaceHooks, &Tunnels)>,
    ) -> Vec<PlaceTrace> {
        let mut by_layer: BTreeMap<u8, Vec<SiteCrossings>> = BTreeMap::new();
        if self.own || !tunnelled.is_empty() {
            by_layer.entry(CARRIED).or_default();
        }
        sites.into_iter().for_each(|site| by_layer.entry(site.layers).or_default().push(site));
        let netns = self.netns;
        let mut told = Vec::new();
        for (layers, sites) in by_layer {
            let places = self.layer(layers);
            if layers == CARRIED {
                places.with_tunnels_of(tunnelled);
            }
            if let Some(own) = hooks.as_ref().and_then(|(hooks, _)| hooks.told(netns, layers)) {
                places.learn_own_hooks(own);
            }
            let seen = places.look(sites, false, hooks.as_mut().map(|(hooks, tunnels)| (&mut **hooks, *tunnels)));
            told.extend(seen);
        }
        told
    }

    /// Returns the same as when it was last looked at, with what was looked up in each of them about the packets that carry the
    /// probes.
    /// `places` are those that the probes themselves crossed, and `next` is the link-layer address of the neighbour to which they
    /// left the run's own.
    pub(super) fn finish(
        &mut self,
        seen: &[PlaceTrace],
        (places, next): (&[PlaceTrace], Option<String>),
        log: &NeighbourLog,
        names: &DropNames<'_>,
    ) -> Vec<PlaceTrace> {
        let (role, ids) = (self.role, self.ids.clone());
        let crossed = places;
        let mut told = Vec::new();
        for (layers, places) in &mut self.layers {
            let here: Vec<&PlaceTrace> = seen.iter().filter(|place| place.layers == *layers).collect();
            let (local, remote) = match (role, ends(&here)) {
                (HostRole::Receiver, Some((source, destination))) => (destination, source),
                (_, Some(ends)) => ends,
                (_, None) => {
                    let own = or_log("tunnels", tunnel::look_up()).unwrap_or_default();
                    let own = (!own.is_empty()).then_some((own, next.clone()));
                    let (tunnels, next) = own.or_else(|| left_by(crossed, places)).unwrap_or_default();
                    ends_of(&tunnels, next.as_deref())
                }
            };
            let flow = EchoFlow {
                local,
                remote,
                interface: None,
                ids: ids.clone(),
                source_given: true,
                sent_as: None,
                choosers: Default::default(),
            };
            places.about(&flow);
            let mut addresses = BTreeSet::from([local, remote]);
            addresses.retain(|address| !address.is_unspecified());
            told.extend(places.finish(log, &mut addresses, 0, names));
        }
        told.iter_mut().for_each(|place| self.count_since(place));
        told
    }

    /// Leaves of what the devices of a place counted only what they counted since the begin.
    fn count_since(&self, place: &mut PlaceTrace) {
        let Some((_, before)) = self.before.iter().find(|(inode, _)| *inode == place.netns) else { return };
        for tunnel in &mut place.tunnels {
            let then = before.iter().find(|then| then.ifindex == tunnel.ifindex).and_then(|then| then.counts);
            tunnel.counts = tunnel.counts.map(|now| now.since(then.unwrap_or_default()));
        }
    }

    fn layer(&mut self, layers: u8) -> &mut Places {
        let unknown = IpAddr::from([0, 0, 0, 0]);
        let (role, ids, blind, netns) = (self.role, &self.ids, &self.blind, self.netns);
        let always = layers == CARRIED && self.own;
        self.layers.entry(layers).or_insert_with(|| {
            let flow = EchoFlow {
                local: unknown,
                remote: unknown,
                interface: None,
                ids: ids.clone(),
                source_given: true,
                sent_as: None,
                choosers: Default::default(),
            };
            let places = Places::new(flow, role, blind.clone()).inside(layers);
            if always { places.with(netns.into()) } else { places }
        })
    }
}

/// Returns the source and destination of the packets that carry requests, as they were seen.
fn ends(places: &[&PlaceTrace]) -> Option<(IpAddr, IpAddr)> {
    let of_leg = |leg: Echo| {
        let ports = places.iter().flat_map(|place| &place.ports).flat_map(|port| port.hops.values());
        let hooks = places.iter().filter_map(|place| place.hooks.as_ref()).flat_map(|hooks| hooks.hops.values());
        let passages = ports.chain(hooks).filter_map(move |hop| hop.seen(leg)).flat_map(BTreeMap::values);
        let first = passages.min_by_key(|passage| passage.first_ns)?;
        first.source.zip(first.destination)
    };
    of_leg(Echo::Request).or_else(|| of_leg(Echo::Reply).map(|(source, destination)| (destination, source)))
}

/// Returns the tunnels of the last place by one of which probes left, with the link-layer address to which they were sent.
fn left_by(crossed: &[PlaceTrace], places: &Places) -> Option<(Vec<TunnelFacts>, Option<String>)> {
    crossed.iter().rev().find_map(|place| {
        let left = place.ports.iter().filter(|port| {
            let seen = |leg: Echo| port.seen(Hop::Xmit, leg).is_some_and(|seen| !seen.is_empty());
            seen(Echo::Request) || seen(Echo::Reply)
        });
        let tunnels = places.tunnels_of(place.netns);
        let by = left.map(|port| &port.interface).find(|name| tunnels.iter().any(|tunnel| tunnel.is_behind(name)))?;
        let next = place.findings.iter().find_map(|finding| match finding {
            Finding::Neighbour { interface, lladdr, .. } if interface == by => lladdr.clone(),
            _ => None,
        });
        Some((tunnels.into_iter().filter(|tunnel| tunnel.is_behind(by)).collect(), next))
    })
}

/// Returns the source and destination that they would have by these tunnels; unspecified if those do not show it.
fn ends_of(tunnels: &[TunnelFacts], next: Option<&str>) -> (IpAddr, IpAddr) {
    let entry = |tunnel: &TunnelFacts| next.and_then(|next| tunnel.entry_for(next).cloned());
    let tunnel = tunnels.iter().find(|tunnel| entry(tunnel).is_some()).or(tunnels.first());
    let any = |tunnel: &TunnelFacts| tunnel.entry_for(ANY_ADDRESS).cloned();
    let to = tunnel.and_then(|tunnel| entry(tunnel).or_else(|| any(tunnel)).map(|entry| entry.to).or(tunnel.remote));
    let unspecified = match to {
        Some(IpAddr::V6(_)) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::from(Ipv4Addr::UNSPECIFIED),
    };
    (tunnel.and_then(|tunnel| tunnel.local).unwrap_or(unspecified), to.unwrap_or(unspecified))
}
