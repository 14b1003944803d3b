//! Watches every hop of one host during a run, and tells why a hop is blind.

mod following;
mod passing;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic, thread,
    time::{Duration, Instant},
};

use crate::ebpf::Ebpf;
use nix::{net::if_::if_indextoname, sys::utsname::uname};
use probe_ebpf::{Hop, Skip, contract::hop::HOPS};

pub use self::passing::PassingWatch;
use super::{
    carried::{self, Carried},
    drops::DropNames,
    heard::HeardErrors,
    hooks::PlaceHooks,
    lookups::{
        self, Lookups, ask_again,
        neighbours::{NeighbourLookup, elsewhere, ways_back},
    },
    meter::{self, Meter},
    neighbours::NeighbourLog,
    other_devices,
    place_rules::PlaceRules,
    places::Places,
    tracking::{self, SeenTuples, TrackedBefore},
    under_way::UnderWay,
};
use crate::ebpf::attaching::{AttachedHops, HopLinks, attach, families};
use crate::{
    clock::monotonic_ns,
    error::Failure,
    host::{
        device::{self, Device},
        namespace::boot_id,
        neighbour, or_log,
    },
    model::{
        attach::XdpAttachment,
        request::{EchoFlow, HostRole, WatchRequest},
        trace::{
            Accounting, Drop, Finding, HookTrace, HopTrace, HostFacts, HostTrace, Taken,
            tunnel::{known, of_words, to_words},
        },
    },
    watch::Watching,
};
use crate::{ebpf::drops::DropRing, host::reasons::Reasons, model::trace::benign::benign};
use crate::{
    ebpf::{
        KernelError,
        absorbed::{self, Absorbing},
        crossings::Crossings,
        followed::{FollowJob, FollowedMaps},
        hooks::Hooks,
        journeys::Journeys,
        load,
        log::KernelLog,
        neighbours::NeighbourRing,
        running::RunningKernel,
        tallies::SkipMap,
        tunnels::TunnelMap,
    },
    host::{symbols::Awaited, trace_rules::TraceRules},
};

/// One host, watched.
pub struct PathWatch {
    facts: HostFacts,
    probes: u16,
    blind: BTreeMap<Hop, String>,
    journeys: Journeys,
    absorbing: Option<Absorbing>,
    ring: DropRing,
    skips: SkipMap,
    reasons: Reasons,
    symbols: Awaited,
    drops: Vec<Drop>,
    heard: HeardErrors,
    netns: u64,
    everywhere: bool,
    role: HostRole,
    since_ns: u64,
    ifindex: u32,
    crossings: Option<Crossings>,
    /// The echoes of other programs, where those are followed: nothing may be sent then.
    followed: Option<FollowedMaps>,
    sights: u32,
    places: Option<Places>,
    hooks: Option<PlaceHooks>,
    carried: Option<Carried>,
    tunnels: TunnelMap,
    neighbours: NeighbourLog,
    flow: EchoFlow,
    lookups: Lookups,
    tracked: TrackedBefore,
    _under_way: UnderWay,
    rules: Option<TraceRules>,
    log: KernelLog,
    attach_time: Duration,
    meter: Meter,
    _links: HopLinks,
    _programs: Ebpf,
}

/// The skips that tell of a map without room. That of drop events is not among them: it makes no hop blind, and what it
/// lost is counted apart. Journeys are an array, which has room for every probe, so that a diagnosis meets none of these
/// unless its programs are made to do more.
const FULL: [Skip; 3] = [Skip::PendingFull, Skip::FlowsFull, Skip::RingFull];

/// The inode of no namespace.
const NOWHERE: u64 = 0;

/// How long a kernel takes to ask again for a neighbour that it is looking for (`retrans_time_ms`), and a little.
const ONCE_MORE: Duration = Duration::from_millis(1100);

/// How often to look whether it did.
const LOOK: Duration = Duration::from_millis(10);

/// Starts watching in the calling thread's network namespace; a [`crate::watch::Factory`].
///
/// # Errors
/// No such interface, no privilege, no kernel half. A hop that cannot be watched is blind, not an error.
pub fn start(request: &WatchRequest) -> Result<Box<dyn Watching>, Failure> {
    Ok(Box::new(PathWatch::start(request, None)?))
}

/// Begins with the first step of [`start`] in the background: reading what the kernel publishes about itself.
pub fn read_ahead() {
    RunningKernel::read_ahead();
    load::read_ahead();
}

impl PathWatch {
    fn start(request: &WatchRequest, follow: Option<FollowJob>) -> Result<Self, KernelError> {
        let begun = Instant::now();
        let device = request.interface.as_deref().map(Device::find).transpose()?;
        let ifindex = device.as_ref().map_or(0, |device| device.ifindex);
        let running = RunningKernel::taken();
        let flow = EchoFlow {
            local: request.local,
            remote: request.remote,
            interface: request.interface.clone(),
            ids: vec![request.id],
            source_given: request.source_given || request.role == HostRole::Receiver,
            sent_as: request.sent_as.clone(),
            choosers: request.choosers.clone(),
        };
        let before = carried::tunnels_before(request);
        let mut tunnels = known(&[]);
        before.iter().for_each(|(_, devices)| tunnels.add(&known(devices)));
        let heard = if follow.is_none() { HeardErrors::begin(request, &before) } else { HeardErrors::default() };
        let own = before.first().map(|(_, own)| own.clone()).unwrap_or_default();
        tunnels.add(&of_words(&request.tunnels));
        let (attached, lookups, tracked) = thread::scope(|scope| {
            let lookups = scope.spawn(|| (Lookups::begin(&flow), TrackedBefore::read(&flow, request.everywhere)));
            let attached = attach(request, follow, device.as_ref(), (&running, &tunnels));
            let (lookups, tracked) = lookups.join().unwrap_or_else(|cause| panic::resume_unwind(cause));
            (attached, lookups, tracked)
        });
        let AttachedHops { mut programs, blind, links, xdp_mode } = attached?;
        let followed = follow.map(|_| FollowedMaps::take(&mut programs)).transpose()?;
        let crossings = request.crosses().then(|| Crossings::take(&mut programs, request.probes)).transpose()?;
        let hooks = request.crosses().then(|| Hooks::take(&mut programs, request.probes)).transpose()?;
        let mut hooks = hooks.map(|hooks| PlaceHooks::new(hooks, &links.netfilter, families(request, follow)));
        let facts = HostFacts { tunnels: to_words(&known(&own)), ..facts(request, device.as_ref(), xdp_mode) };
        let mut opened = TunnelMap::take(&mut programs)?;
        opened.learn(&tunnels)?;
        if let Some(hooks) = hooks.as_mut().filter(|_| !tunnels.is_empty()) {
            hooks.enter_own(facts.netns as u32, &blind);
        }
        let carried = request
            .crosses()
            .then(|| Carried::new((request.role, facts.netns), vec![request.id], blind.clone(), before));
        let in_places = || request.trace_rules.then(|| PlaceRules::new(flow.clone(), request.nonce));
        let places = || Places::new(flow.clone(), request.role, blind.clone()).tracing_rules(in_places());
        let places = match request.role {
            HostRole::Router => Some(places().with(facts.netns)),
            HostRole::Sender | HostRole::Receiver => request.everywhere.then(places),
        };
        let absorber = absorbed::keeper(request, &blind)?;
        // After attaching: the programs have addresses too. Nothing is named before something was dropped.
        let symbols = Awaited::begin();
        let rules = request.trace_rules.then(|| TraceRules::begin(&flow, request.nonce)).and_then(|begun| {
            begun.inspect_err(|why| tracing::warn!("the rule that drops will not be named: {why}")).ok()
        });
        Ok(Self {
            netns: facts.netns,
            everywhere: request.everywhere,
            role: request.role,
            since_ns: monotonic_ns(),
            facts,
            probes: request.probes,
            blind,
            journeys: match (Journeys::take(&mut programs)?, request.role, follow) {
                // It knows no pair: what it forwards may be rewritten before and after it.
                (journeys, HostRole::Router, _) | (journeys, _, Some(_)) => journeys,
                (journeys, ..) => journeys.between(request.local, request.remote),
            },
            absorbing: absorber.map(|hop| Absorbing::begin(&mut programs, hop, request, ifindex)).transpose()?,
            ring: DropRing::take(&mut programs)?,
            skips: SkipMap::take(&mut programs)?,
            reasons: running.reasons(),
            symbols,
            drops: Vec::new(),
            heard,
            ifindex,
            crossings,
            followed,
            sights: follow.map_or(0, |follow| follow.sights()),
            places,
            hooks,
            carried,
            tunnels: opened,
            neighbours: NeighbourLog::new(NeighbourRing::take(&mut programs)?),
            flow: flow.clone(),
            lookups,
            tracked,
            _under_way: UnderWay::begin(flow.interface.as_deref(), &flow.ids),
            rules,
            log: KernelLog::of(&mut programs),
            attach_time: begun.elapsed(),
            meter: Meter::start(&programs, links.netfilter.programs()),
            _links: links,
            _programs: programs,
        })
    }

    fn sight(&mut self) -> Result<HostTrace, KernelError> {
        self.log.flush();
        self.take_drops();
        self.neighbours.drain();
        let seen = self.journeys.read(self.numbers());
        let hop = |hop: Hop| match self.blind.get(&hop) {
            Some(why) => HopTrace::Blind { why: why.clone() },
            None => {
                let (requests, replies) = seen.get(&hop).cloned().unwrap_or_default();
                HopTrace::Watched { requests, replies }
            }
        };
        let skips = self.skips.read()?;
        let skipped = |skip: Skip| skips.get(&skip).copied().unwrap_or(0);
        let sites = self.crossings.as_ref().map(Crossings::read).unwrap_or_default();
        let (plain, carried): (Vec<_>, Vec<_>) = sites.into_iter().partition(|site| site.layers == 0);
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            plain.into_iter().partition(|site| is_here(self.role, self.netns, site.netns));
        let mut hops = HOPS.iter().map(|row| (row.hop, hop(row.hop))).collect();
        let ports = other_devices::ports(&hops, &here, self.ifindex);
        if let Some(places) = self.places.as_mut().filter(|_| self.role == HostRole::Router) {
            places.learn_own_hooks(HookTrace::of(&hops, self.since_ns));
        }
        let other_devices = other_devices::merge(&mut hops, &here, self.ifindex);
        let full = self.crossings.as_ref().is_some_and(Crossings::full);
        let known = self.tunnels.known();
        let hooks = self.hooks.as_mut().filter(|_| self.everywhere).map(|hooks| (hooks, &known));
        let places = self.places.as_mut().map(|places| places.look(elsewhere, full, hooks)).unwrap_or_default();
        if let Some(places) = &mut self.places {
            places.know(&self.neighbours.met());
            self.tunnels.learn(&places.tunnels())?;
        }
        let hooks = self.hooks.as_mut().map(|hooks| (hooks, &known));
        let tunnelled = self.places.as_ref().map(Places::with_tunnels).unwrap_or_default();
        let carried = self.carried.as_mut().map(|layers| layers.look(carried, &tunnelled, hooks)).unwrap_or_default();
        let untold = self.places.as_ref().map(Places::untold).unwrap_or_default();
        Ok(HostTrace {
            untold,
            host: self.facts.clone(),
            hops,
            other_devices,
            ports,
            drops: self.drops.clone(),
            findings: Vec::new(),
            accounting: Accounting {
                events_lost: skipped(Skip::DropsFull),
                maps_full: FULL.into_iter().filter(|skip| skipped(*skip) > 0).count() as u64,
                attach_ms: u64::try_from(self.attach_time.as_millis()).unwrap_or(u64::MAX),
                bpf_ns_per_packet: 0,
            },
            places,
            carried,
            neighbour: Vec::new(),
            heard: self.heard.read(),
        })
    }

    /// Returns how many numbers there are to read.
    fn numbers(&self) -> u16 {
        let given = self.followed.as_ref().and_then(|followed| followed.asked().ok());
        given.map_or(self.probes, |given| u16::try_from(given).unwrap_or(u16::MAX).min(self.probes))
    }

    /// Names the drops that came since the last look, and leaves out those that are no loss.
    fn take_drops(&mut self) {
        let events = self.ring.drain();
        if events.is_empty() {
            return;
        }
        let names = DropNames { reasons: &self.reasons, symbols: self.symbols.get() };
        for event in events {
            let here = is_here(self.role, self.netns, event.site.netns);
            let interface =
                if_indextoname(event.site.ifindex).ok().and_then(|name| name.into_string().ok()).filter(|_| here);
            let drop = names.told(&event, interface);
            if event.layers > 0 {
                let at = (event.site.netns, event.site.ifindex);
                self.carried.iter_mut().for_each(|carried| carried.dropped(event.layers, at, drop.clone()));
                continue;
            }
            let absorbed = |absorbing: &Absorbing| absorbing.ended(&drop, &self.journeys);
            if here && self.absorbing.as_ref().is_some_and(absorbed) {
                continue;
            }
            match benign(&drop, self.reasons.icmpv6_frees()) {
                Some(benign) => tracing::debug!("no loss: {} at {}: {}", drop.reason, drop.function, benign.why()),
                None if here => self.drops.push(drop),
                None => {
                    self.places
                        .iter_mut()
                        .for_each(|places| places.dropped(event.site.netns, event.site.ifindex, drop.clone()));
                }
            }
        }
    }
}

impl Watching for PathWatch {
    fn look(&mut self) -> Result<HostTrace, Failure> {
        let mut sight = self.sight()?;
        // A run in which every probe was answered ends with a look; this takes some microseconds.
        sight.accounting.bpf_ns_per_packet = meter::per_packet(&self.meter.read(), &sight);
        Ok(sight)
    }

    fn learn_tunnels(&mut self, words: &[u32]) {
        or_log("tunnels", self.tunnels.learn(&of_words(words)));
    }

    fn look_for_neighbours(&mut self) {
        self.neighbours.drain();
        let mut open = Vec::new();
        if let Some(next) = neighbour::look_for(self.flow.local, self.flow.remote, self.flow.key()) {
            open.push((self.netns as u32, next));
        }
        if let Some(places) = &mut self.places {
            open.extend(places.look_for_neighbours(&self.neighbours));
        }
        let until = Instant::now() + ONCE_MORE;
        loop {
            open.retain(|(netns, address)| !self.neighbours.saw_asked(*netns, *address));
            if open.is_empty() || Instant::now() >= until {
                break;
            }
            thread::sleep(LOOK);
            self.neighbours.drain();
        }
    }

    fn absorbed(&mut self) -> Result<Taken, Failure> {
        let Some(absorbing) = &mut self.absorbing else { return Ok(Taken::default()) };
        Ok(absorbing.take(&self.skips)?)
    }

    fn finish(&mut self) -> Result<HostTrace, Failure> {
        let mut sight = self.look()?;
        if self.role == HostRole::Router {
            self.finish_places(&mut sight);
            self.finish_carried(&mut sight);
            return Ok(sight);
        }
        sight.findings = self.rules.take().map(TraceRules::end).unwrap_or_default();
        sight.findings.extend(self.lookups.end(&sight.drops));
        // What leaves by another device than the watched one may end in the program that holds that device.
        let left: BTreeSet<&str> =
            sight.other_devices.iter().filter(|other| !other.inwards).map(|other| other.interface.as_str()).collect();
        sight.findings.extend(left.into_iter().flat_map(lookups::device));
        self.find_neighbours(&mut sight);
        let mut seen = SeenTuples::of_flow(&self.flow);
        seen.add(sight.hops.values(), &self.flow);
        sight.findings.extend(tracking::look_up(&self.flow, &seen, &self.tracked, self.netns));
        if let Some(places) = &mut self.places {
            places.find_tracked(&mut sight.places, &self.tracked);
            places.find_rules(&mut sight.places);
        }
        self.finish_carried(&mut sight);
        Ok(sight)
    }
}

impl PathWatch {
    /// Looks up what decides about the packets that carry the probes.
    fn finish_carried(&mut self, sight: &mut HostTrace) {
        self.neighbours.drain();
        let names = DropNames { reasons: &self.reasons, symbols: self.symbols.get() };
        let next = match neighbour::look_up(self.flow.local, self.flow.remote, self.flow.key()) {
            Some(Finding::Neighbour { lladdr, .. }) => lladdr,
            _ => None,
        };
        if let Some(carried) = &mut self.carried {
            sight.carried = carried.finish(&sight.carried, (&sight.places, next), &self.neighbours, &names);
        }
    }

    /// Looks up the places of a host in between, its own among them. Nothing is sent.
    fn finish_places(&mut self, sight: &mut HostTrace) {
        self.neighbours.drain();
        let names = DropNames { reasons: &self.reasons, symbols: self.symbols.get() };
        let mut addresses = BTreeSet::from([self.flow.local, self.flow.remote]);
        addresses.retain(|address| !address.is_unspecified());
        if let Some(places) = &mut self.places {
            sight.places = places.finish(&self.neighbours, &mut addresses, NOWHERE, &names);
            places.find_tracked(&mut sight.places, &self.tracked);
            places.find_rules(&mut sight.places);
        }
        let mut more = self.rules.take().map(TraceRules::end).unwrap_or_default();
        more.extend(self.lookups.risen());
        if let Some(own) = sight.places.iter_mut().find(|place| place.netns == self.netns) {
            own.findings.extend(more);
        }
    }

    /// Adds what was seen and is known of finding neighbours, and looks the places up.
    fn find_neighbours(&mut self, sight: &mut HostTrace) {
        let EchoFlow { local, remote, interface, .. } = &self.flow;
        let mut addresses = BTreeSet::from([*local, *remote]);
        addresses.retain(|address| !address.is_unspecified());
        let entry = sight.findings.iter().find_map(|finding| match finding {
            Finding::Neighbour { address, interface, lladdr, .. } => {
                Some((*address, interface.clone(), lladdr.clone()))
            }
            _ => None,
        });
        addresses.extend(entry.as_ref().map(|(next, ..)| *next));
        addresses.extend(lookups::gateways(&sight.findings));
        self.neighbours.drain();
        let names = DropNames { reasons: &self.reasons, symbols: self.symbols.get() };
        let netns = self.netns as u32;
        if let Some(places) = &mut self.places {
            sight.places = places.finish(&self.neighbours, &mut addresses, self.netns, &names);
        }
        let named = |ifindex: u32| if_indextoname(ifindex).ok().and_then(|name| name.into_string().ok());
        sight.neighbour = self.neighbours.told(netns, &addresses, &names, named);
        sight.findings.extend(ways_back(&sight.neighbour, &[*local, *remote]));
        let met = self.neighbours.interfaces(netns, &addresses).into_iter().filter_map(named);
        let lookup = NeighbourLookup {
            addressed: Vec::new(),
            ways: vec![(*local, *remote)],
            addresses: addresses.iter().copied().collect(),
            interfaces: interface.iter().cloned().chain(met).collect(),
            family: self.flow.family(),
            key: self.flow.key(),
        };
        for finding in lookup.found() {
            if !sight.findings.contains(&finding) {
                sight.findings.push(finding);
            }
        }
        if self.places.is_some() {
            sight.findings.extend(elsewhere(&lookup.addresses, self.netns));
        }
        if let Some((next, interface, Some(_))) = entry.filter(|_| self.followed.is_none()) {
            let asked = or_log("asking again", ask_again::ask(next, &interface)).flatten();
            sight.findings.extend(asked.map(Finding::AskedAgain));
        }
    }
}

/// Reports whether the namespace `netns` is the one of the hops, `own`. For a host in between, its own is a place like
/// any other.
fn is_here(role: HostRole, own: u64, netns: u32) -> bool {
    role != HostRole::Router && u64::from(netns) == own
}

fn facts(request: &WatchRequest, device: Option<&Device>, xdp_mode: XdpAttachment) -> HostFacts {
    let name = uname().ok();
    let told =
        |text: Option<&std::ffi::OsStr>| text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    HostFacts {
        hostname: told(name.as_ref().map(nix::sys::utsname::UtsName::nodename)),
        interface: request.interface.clone().unwrap_or_default(),
        address: (!request.local.is_unspecified()).then_some(request.local),
        kernel: told(name.as_ref().map(nix::sys::utsname::UtsName::release)),
        xdp_mode,
        tunnel: device.and_then(Device::tunnel).map(str::to_owned),
        tunnels: Vec::new(),
        netns: device::netns_inode().unwrap_or_default(),
        everywhere: request.everywhere,
        boot: boot_id(),
    }
}
