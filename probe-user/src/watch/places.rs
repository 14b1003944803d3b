//! Other network namespaces of this kernel that a run's probes crossed or ended in: their names, and what is found in
//! them.

mod known;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use probe_ebpf::{Echo, Hop, tunnel::Tunnels};

use crate::{
    ebpf::crossings::SiteCrossings,
    host::{
        chains::{self, ChainTraffic},
        device::Device,
        neighbour, or_log,
        policy::{self, RouteKey},
        route, settings, tunnel,
    },
    model::{
        request::{EchoFlow, HostRole, SocketKey},
        trace::{Drop, Finding, HookTrace, PlaceTrace, RoutePurpose, TunnelFacts, UntoldPlaces, tunnel::known},
    },
};

use self::known::MetNamespace;
use super::{
    drops::DropNames,
    hooks::PlaceHooks,
    lookups::{
        self, keys_of,
        neighbours::{NeighbourLookup, nowhere, ways_back},
        programs,
    },
    neighbours::NeighbourLog,
    other_devices::port,
    place_rules::PlaceRules,
    tracking::{self, SeenTuples, TrackedBefore},
    ways::{self, RoutedLeg},
};

/// How many places are reported at most.
const MAX_PLACES: usize = 16;

/// The places of one run.
pub(super) struct Places {
    sites: Vec<SiteCrossings>,
    full: bool,
    left_out: usize,
    flow: EchoFlow,
    role: HostRole,
    known: BTreeMap<u32, MetNamespace>,
    drops: BTreeMap<u32, Vec<(u32, Drop)>>,
    /// The namespace that is reported whether or not probes reached it.
    always: Option<u32>,
    /// Others that have tunnels by which probes may leave: reported although nothing came out of these.
    tunnelled: BTreeSet<u32>,
    /// What its netfilter hooks saw, to which the watch itself is attached.
    own_hooks: Option<HookTrace>,
    /// The hops that this kernel does not show, and why.
    blind: BTreeMap<Hop, String>,
    /// What the hooks of each other namespace saw.
    hooks: BTreeMap<u32, HookTrace>,
    /// How many layers of tunnels the reported probes have around them.
    layers: u8,
    /// The traces of rules, if rules are traced.
    rules: Option<PlaceRules>,
}

impl Places {
    /// Creates it with nothing; `blind` are the hops that cannot be watched.
    pub(super) fn new(flow: EchoFlow, role: HostRole, blind: BTreeMap<Hop, String>) -> Self {
        let (sites, known, drops, hooks) = (Vec::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self {
            sites,
            full: false,
            left_out: 0,
            flow,
            role,
            known,
            drops,
            always: None,
            tunnelled: BTreeSet::new(),
            own_hooks: None,
            blind,
            hooks,
            layers: 0,
            rules: None,
        }
    }

    /// Makes it report probes with this many layers of tunnels around them.
    pub(super) fn inside(self, layers: u8) -> Self {
        Self { layers, ..self }
    }

    /// Traces the rules that probes meet in other namespaces than that of the watch itself.
    pub(super) fn tracing_rules(self, rules: Option<PlaceRules>) -> Self {
        Self { rules, ..self }
    }

    /// Looks at what tunnels these namespaces have, up to as many as places are reported: questions for neighbours came
    /// there, and may go on inside packets.
    pub(super) fn know(&mut self, inodes: &BTreeSet<u32>) {
        let unknown = inodes.iter().filter(|inode| **inode != 0).take(MAX_PLACES);
        for inode in unknown {
            self.known.entry(*inode).or_insert_with(|| MetNamespace::of(*inode));
        }
    }

    /// Returns how to recognize packets of the tunnels of all namespaces that were met so far.
    pub(super) fn tunnels(&self) -> Tunnels {
        let mut all = Tunnels::default();
        self.known.values().for_each(|namespace| all.add(&known(&namespace.tunnels)));
        all
    }

    /// Makes it report the namespace with this inode in any case. Its hooks are those of the watch itself.
    pub(super) fn with(self, netns: u64) -> Self {
        Self { always: u32::try_from(netns).ok(), ..self }
    }

    /// Tells of these namespaces too, whose tunnels probes may have come to.
    pub(super) fn with_tunnels_of(&mut self, inodes: &BTreeSet<u32>) {
        self.tunnelled.extend(inodes);
    }

    /// Returns the namespaces that probes crossed and that have tunnels.
    pub(super) fn with_tunnels(&self) -> BTreeSet<u32> {
        let crossed = self.sites.iter().map(|site| site.netns);
        crossed.filter(|inode| self.known.get(inode).is_some_and(|known| !known.tunnels.is_empty())).collect()
    }

    /// Returns the tunnels of the namespace with this inode, as they are now.
    pub(super) fn tunnels_of(&self, netns: u64) -> Vec<TunnelFacts> {
        let known = u32::try_from(netns).ok().and_then(|inode| self.known.get(&inode));
        let look = || or_log("tunnels", tunnel::look_up()).unwrap_or_default();
        let found = known.and_then(|known| known.namespace.as_ref()).map(|namespace| namespace.run(look));
        found.and_then(|found| or_log("place", found)).unwrap_or_default()
    }

    /// Takes what the hooks of that namespace saw so far.
    pub(super) fn learn_own_hooks(&mut self, hooks: HookTrace) {
        self.own_hooks = Some(hooks);
    }

    /// Sets the echoes that look-ups are about.
    pub(super) fn about(&mut self, flow: &EchoFlow) {
        self.flow = flow.clone();
    }

    /// Notes a probe that was freed at an interface of the namespace `netns`.
    pub(super) fn dropped(&mut self, netns: u32, ifindex: u32, drop: Drop) {
        self.drops.entry(netns).or_default().push((ifindex, drop));
    }

    /// Makes each place look for the neighbours that it has not found, unless `log` saw it ask; returns those questions, by
    /// namespace.
    pub(super) fn look_for_neighbours(&mut self, log: &NeighbourLog) -> Vec<(u32, IpAddr)> {
        let places = self.seen(&[]);
        let mut asked = Vec::new();
        for place in places {
            let Ok(inode) = u32::try_from(place.netns) else { continue };
            let legs = self.routed(&place, inode);
            let ends = self.unrouted(&legs);
            let Some(namespace) = self.known.get(&inode).and_then(|known| known.namespace.as_ref()) else { continue };
            let nowhere = nowhere(self.flow.family());
            let look = || {
                let plain = ends.iter().filter_map(|end| neighbour::look_for(nowhere, *end, self.of_packets()));
                plain.chain(ways::look_for(&legs)).collect::<Vec<_>>()
            };
            let found = or_log("place", namespace.run(look)).unwrap_or_default();
            asked.extend(found.into_iter().filter(|address| !log.saw_asked(inode, *address)).map(|it| (inode, it)));
        }
        asked
    }

    /// Returns how packets of each leg are routed in a place, as far as that was seen.
    fn routed(&mut self, place: &PlaceTrace, inode: u32) -> Vec<RoutedLeg> {
        let Some(known) = self.known.get_mut(&inode) else { return Vec::new() };
        ways::of(place, self.flow.choosers.tos, |ifindex| known.interface(ifindex))
    }

    /// Returns the ends of the run to which no packets were seen to be routed: a plain look-up has to do.
    fn unrouted(&self, legs: &[RoutedLeg]) -> Vec<IpAddr> {
        let (target, sender) = self.ends();
        let of = |leg: Echo| legs.iter().any(|routed| routed.leg == leg);
        let ends = [(Echo::Request, target), (Echo::Reply, sender)].into_iter();
        ends.filter(|(leg, end)| !end.is_unspecified() && !of(*leg)).map(|(_, end)| end).collect()
    }

    /// Returns what to ask routing with in the calling thread's namespace about the run's packets with marks that rules choose by.
    fn marked(&self, legs: &[RoutedLeg]) -> Vec<(RouteKey, RoutePurpose)> {
        let (target, sender) = self.ends();
        let own = matches!(route::own_address(target), Some(Finding::Address { own: true, .. }));
        let answers = (own && !sender.is_unspecified()).then_some((target, sender));
        ways::marked(legs, answers, self.flow.choosers.tos, target)
    }

    /// Returns what routing knows of the run's packets in another namespace, where they are nobody's.
    fn of_packets(&self) -> SocketKey {
        SocketKey { uid: None, tos: self.flow.choosers.tos }
    }

    /// Returns the run's target and its sender, whichever end this kernel is.
    fn ends(&self) -> (IpAddr, IpAddr) {
        match self.role {
            HostRole::Sender | HostRole::Router => (self.flow.remote, self.flow.local),
            HostRole::Receiver => (self.flow.local, self.flow.remote),
        }
    }

    /// Returns what was seen so far at `sites`, without what would have to be looked up; `full`: there may be more.
    /// Hooks of further namespaces are watched from now on, with those inside tunnels if this run has any.
    pub(super) fn look(
        &mut self,
        sites: Vec<SiteCrossings>,
        full: bool,
        hooks: Option<(&mut PlaceHooks, &Tunnels)>,
    ) -> Vec<PlaceTrace> {
        (self.sites, self.full) = (sites, full);
        let mut places = self.seen(&[]);
        let Some((hooks, tunnels)) = hooks else { return places };
        let mut all = self.tunnels();
        all.add(tunnels);
        let own = self.always.map(u64::from);
        for place in places.iter_mut().filter(|place| Some(place.netns) != own) {
            let Ok(inode) = u32::try_from(place.netns) else { continue };
            let namespace = self.known.get(&inode).and_then(|known| known.namespace.as_ref());
            hooks.enter(inode, namespace, !all.is_empty());
            self.rules.iter_mut().for_each(|rules| rules.enter(inode, namespace));
            place.hooks = hooks.told(inode, self.layers);
            self.hooks.extend(place.hooks.clone().map(|told| (inode, told)));
        }
        places
    }

    /// Returns what is not reported of what was seen at the last look.
    pub(super) fn untold(&self) -> UntoldPlaces {
        UntoldPlaces { places: self.left_out, interfaces: self.full }
    }

    /// Returns what was seen at the last look, with these namespaces after those that probes crossed.
    fn seen(&mut self, others: &[u32]) -> Vec<PlaceTrace> {
        let sites = std::mem::take(&mut self.sites);
        let crossed = sites.iter().map(|site| site.netns).chain(self.drops.keys().copied());
        let mut inodes: Vec<u32> =
            crossed.chain(self.always).chain(self.tunnelled.iter().copied()).chain(others.iter().copied()).collect();
        let mut told = Vec::new();
        inodes.retain(|inode| {
            !told.contains(inode) && {
                told.push(*inode);
                true
            }
        });
        self.left_out = inodes.len().saturating_sub(MAX_PLACES);
        // Where probes ended is reported in any case.
        let (ended, others): (Vec<u32>, Vec<u32>) = inodes.iter().partition(|inode| self.drops.contains_key(inode));
        let told: BTreeSet<u32> = ended.into_iter().chain(others).take(MAX_PLACES).collect();
        inodes.retain(|inode| told.contains(inode));
        let places = inodes.into_iter().map(|inode| self.place(inode, &sites)).collect();
        self.sites = sites;
        places
    }

    /// Returns what was seen, with what was looked up in each namespace, and with those in which neighbours of the
    /// run were looked for in vain. `addresses` are those of the run, to which next hops of places are added.
    pub(super) fn finish(
        &mut self,
        log: &NeighbourLog,
        addresses: &mut BTreeSet<IpAddr>,
        here: u64,
        names: &DropNames<'_>,
    ) -> Vec<PlaceTrace> {
        let crossed = self.seen(&[]);
        let mut of: BTreeSet<u32> = crossed.iter().filter_map(|place| u32::try_from(place.netns).ok()).collect();
        of.extend(u32::try_from(here));
        // Every next hop first: another place may be the one that has it.
        let nowhere = nowhere(self.flow.family());
        for place in &crossed {
            let Ok(inode) = u32::try_from(place.netns) else { continue };
            let legs = self.routed(place, inode);
            let ends = self.unrouted(&legs);
            let Some(namespace) = self.known.get(&inode).and_then(|known| known.namespace.as_ref()) else { continue };
            let hops = || {
                let plain = ends
                    .iter()
                    .filter_map(|end| route::next_hop(nowhere, *end, self.of_packets()))
                    .map(|hop| hop.address);
                let marked = policy::choices(&self.marked(&legs));
                let marked: Vec<IpAddr> = lookups::gateways(&marked).collect();
                plain.chain(ways::out(&legs).into_iter().filter_map(|(_, hop)| Some(hop?.next))).chain(marked).collect()
            };
            addresses.extend(or_log::<Vec<_>, _>("place", namespace.run(hops)).unwrap_or_default());
            // Requests are for whatever a NAT on the way sends them to.
            addresses.extend(legs.iter().filter(|leg| leg.leg == Echo::Request).map(|leg| leg.key.to));
        }
        addresses.extend(self.asked_for_own(log));
        let others = log.reached(addresses, &of);
        let others: Vec<u32> = others.into_iter().filter(|netns| u64::from(*netns) != here).collect();
        let mut places = self.seen(&others);
        for place in &mut places {
            let Ok(inode) = u32::try_from(place.netns) else { continue };
            let met = log.interfaces(inode, addresses);
            let Some(known) = self.known.get_mut(&inode) else { continue };
            let met: Vec<String> = met.into_iter().map(|ifindex| known.interface(ifindex)).collect();
            let legs = self.routed(place, inode);
            let Some(namespace) = self.known.get(&inode).and_then(|known| known.namespace.as_ref()) else { continue };
            let mut interfaces: Vec<String> = place.ports.iter().map(|port| port.interface.clone()).collect();
            interfaces.extend(met.into_iter().filter(|name| !interfaces.contains(name)).collect::<Vec<_>>());
            if interfaces.is_empty() && self.always == Some(inode) {
                // Nothing came to it: any of them may be the one that stops packets before they are seen.
                let all = || or_log("interfaces", Device::all()).unwrap_or_default();
                let all = or_log("place", namespace.run(all)).unwrap_or_default();
                interfaces.extend(all.into_iter().take(MAX_PLACES).map(|device| device.name));
            }
            let found = namespace.run(|| self.found(&interfaces, place, addresses, &legs));
            place.findings = or_log("place", found).unwrap_or_default();
            let risen = self.known.get(&inode).and_then(|known| or_log("place", namespace.run(|| known.risen())));
            place.findings.extend(risen.unwrap_or_default());
            let (target, sender) = self.ends();
            let policies = namespace.run(|| lookups::ipsec_policies(&place.findings, target, sender));
            place.findings.extend(or_log("place", policies).unwrap_or_default());
            if self.layers > 0 {
                let tunnels = namespace.run(|| or_log("tunnels", tunnel::look_up()).unwrap_or_default());
                place.tunnels = or_log("place", tunnels).unwrap_or_default();
            }
        }
        let (target, sender) = self.ends();
        for place in &mut places {
            let Ok(inode) = u32::try_from(place.netns) else { continue };
            let Some(known) = self.known.get_mut(&inode) else { continue };
            place.neighbour = log.told(inode, addresses, names, |ifindex| Some(known.interface(ifindex)));
            let (ends, asked) = ([target, sender], &place.neighbour);
            let ways = known.namespace.as_ref().map(|namespace| namespace.run(|| ways_back(asked, &ends)));
            place.findings.extend(ways.and_then(|ways| or_log("place", ways)).unwrap_or_default());
        }
        places
    }

    /// Returns the addresses of a host in between for which others asked it: it does not know which host of the run
    /// did.
    fn asked_for_own(&self, log: &NeighbourLog) -> Vec<IpAddr> {
        let known = self.always.and_then(|inode| Some((inode, self.known.get(&inode)?.namespace.as_ref()?)));
        let Some((inode, namespace)) = known else { return Vec::new() };
        let asked = log.asked_of(inode);
        let own = |address: &IpAddr| matches!(route::own_address(*address), Some(Finding::Address { own: true, .. }));
        let found = namespace.run(|| asked.into_iter().filter(own).take(MAX_PLACES).collect());
        or_log::<Vec<_>, _>("place", found).unwrap_or_default()
    }

    /// Adds to each place what connection tracking in it knows of the packets that it saw.
    pub(super) fn find_tracked(&self, places: &mut [PlaceTrace], before: &TrackedBefore) {
        for place in places {
            let known = u32::try_from(place.netns).ok().and_then(|inode| self.known.get(&inode));
            let Some(namespace) = known.and_then(|known| known.namespace.as_ref()) else { continue };
            let mut seen = SeenTuples::of_flow(&self.flow);
            seen.add_place(place, &self.flow);
            let found = namespace.run(|| tracking::look_up(&self.flow, &seen, before, place.netns));
            place.findings.extend(or_log("conntrack", found).flatten());
        }
    }

    /// Adds to each place which rules ended probes there, if that was traced.
    pub(super) fn find_rules(&mut self, places: &mut [PlaceTrace]) {
        let Some(rules) = &mut self.rules else { return };
        for place in places {
            let Ok(inode) = u32::try_from(place.netns) else { continue };
            let Some(namespace) = self.known.get(&inode).and_then(|known| known.namespace.as_ref()) else { continue };
            place.findings.extend(rules.end(inode, namespace));
        }
    }

    fn place(&mut self, inode: u32, sites: &[SiteCrossings]) -> PlaceTrace {
        let known = self.known.entry(inode).or_insert_with(|| MetNamespace::of(inode));
        let own = self.always == Some(inode);
        let here = sites.iter().filter(|site| site.netns == inode);
        let ports = here.map(|site| port(known.interface(site.ifindex), site, &self.blind)).collect();
        let drops = self.drops.get(&inode).into_iter().flatten();
        let drops = drops.map(|(ifindex, drop)| Drop {
            interface: (*ifindex != 0).then(|| known.interface(*ifindex)),
            ..drop.clone()
        });
        PlaceTrace {
            drops: drops.collect(),
            ports,
            name: known.name(inode, own),
            netns: inode.into(),
            enter: known.enter(own),
            of_peer: false,
            of_via: None,
            hooks: if own { self.own_hooks.clone() } else { self.hooks.get(&inode).cloned() },
            findings: Vec::new(),
            neighbour: Vec::new(),
            layers: self.layers,
            tunnels: if self.layers > 0 { known.tunnels.clone() } else { Vec::new() },
        }
    }

    /// Returns what ends packets in the calling thread's namespace, which they cross by these interfaces; `legs` is
    /// how they are routed there.
    fn found(
        &self,
        interfaces: &[String],
        place: &PlaceTrace,
        addresses: &BTreeSet<IpAddr>,
        legs: &[RoutedLeg],
    ) -> Vec<Finding> {
        let drops = &place.drops;
        let (family, first) = (self.flow.family(), interfaces.first().map(String::as_str));
        let nowhere = nowhere(family);
        let (target, sender) = self.ends();
        let mut findings = settings::look_up(family, interfaces.iter().map(String::as_str));
        // The current destination of requests, if that is this place itself.
        let rewritten = ways::asked_for(place).filter(|now| *now != target);
        let rewritten =
            rewritten.filter(|now| matches!(route::own_address(*now), Some(Finding::Address { own: true, .. })));
        let target = rewritten.unwrap_or(target);
        let own = route::own_address(target);
        if self.layers > 0 && !sender.is_unspecified() {
            // A tunnel sends from an address of its own host.
            findings.extend(route::own_address(sender));
            findings.extend(route::path_mtu(sender, target, self.of_packets()));
        }
        // Where the target is, answers have its address as their source: rules may choose by it.
        let answers = matches!(own, Some(Finding::Address { own: true, .. }));
        findings.extend(own);
        let ends = [target, sender].into_iter().filter(|end| !end.is_unspecified());
        let unrouted = self.unrouted(legs);
        for end in ends {
            let from = if answers && end == sender { target } else { nowhere };
            findings.extend(route::look_up(from, end, self.of_packets()));
            if unrouted.contains(&end) {
                findings.extend(neighbour::look_up(from, end, self.of_packets()));
            }
        }
        let mut met = interfaces.to_vec();
        for (choice, hop) in ways::out(legs) {
            findings.push(choice);
            if let Some(hop) = hop {
                met.push(hop.interface.clone());
                findings.extend(neighbour::entry(hop.next, &hop.interface));
                findings.push(Finding::NextHop(hop));
            }
        }
        let mut keys = Vec::new();
        if answers && !sender.is_unspecified() {
            keys.push((RouteKey::sent(Some(target), sender, 0), RoutePurpose::Way));
        }
        keys.extend(keys_of(drops));
        keys.extend(self.marked(legs));
        // Whoever sent those out of a tunnel knows the wrong link-layer address of one of its device's addresses.
        let foreign = drops.iter().filter(|drop| drop.reason == "OTHERHOST").filter_map(|drop| drop.interface.clone());
        let tunnels = u32::try_from(place.netns).ok().and_then(|inode| self.known.get(&inode));
        let tunnels = tunnels.map(|known| known.tunnels.as_slice()).unwrap_or_default();
        let foreign: BTreeSet<String> =
            foreign.filter(|name| tunnels.iter().any(|tunnel| tunnel.is_behind(name))).collect();
        let neighbours = NeighbourLookup {
            key: self.of_packets(),
            addressed: foreign.into_iter().collect(),
            ways: unrouted.iter().map(|end| (nowhere, *end)).collect(),
            addresses: addresses.iter().copied().collect(),
            interfaces: met,
            family,
        };
        for finding in neighbours.found() {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        let has = |finding: &Finding| matches!(finding, Finding::Holder(holder) if holder.address == Some(target));
        if findings.iter().any(has) {
            let own = RouteKey::forwarded(sender, target, 0, first.unwrap_or_default());
            keys.push((own, RoutePurpose::Own));
        }
        keys.iter_mut().for_each(|(key, _)| key.tos = self.flow.choosers.tos);
        // All at once: rules and routes are read for it.
        findings.extend(policy::choices(&keys));
        findings.extend(lookups::no_route::look_up(&findings, None));
        for interface in interfaces {
            findings.extend(lookups::device(interface));
            findings.extend(programs::look_up(Some(interface), None));
        }
        let traffic = if self.layers > 0 { ChainTraffic::Carrier } else { ChainTraffic::Echo };
        findings.extend(chains::look_up(family, first, traffic));
        findings
    }
}
