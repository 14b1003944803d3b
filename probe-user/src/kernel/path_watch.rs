//! Watches every hop of one host during a run: loads and attaches what this kernel has, and tells why the rest is blind.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use aya::{Btf, Ebpf, programs::cgroup_skb::CgroupSkbLink, programs::links::FdLink};
use nix::{net::if_::if_indextoname, sys::utsname::uname};
use probe_ebpf::{Family, Hop, Skip, contract::hop::HOPS};

use super::{
    Error,
    drops::{self, DropRing, Names, Reasons, benign},
    hops::{self, TraceLink, drops::End, netfilter::NetfilterLinks, tc::TcLink},
    journeys::Journeys,
    load::{self, Job, Journey, Switch},
    log::KernelLog,
    lookups::{self, Lookups, trace_rules::TraceRules},
    running::Running,
    symbols::Symbols,
    tallies::SkipMap,
    watch::link_layer,
};
use crate::{
    device::{self, Device, Mode, Purpose, xdp_mode},
    error::Failure,
    sighting::{Accounting, Drop, HopSight, HostFacts, HostSight},
    watching::{WatchRequest, Watching},
};

/// One host, watched.
pub struct PathWatch {
    facts: HostFacts,
    probes: u16,
    blind: BTreeMap<Hop, String>,
    journeys: Journeys,
    ring: DropRing,
    skips: SkipMap,
    reasons: Reasons,
    symbols: Symbols,
    drops: Vec<Drop>,
    lookups: Lookups,
    rules: Option<TraceRules>,
    log: KernelLog,
    attach_time: Duration,
    _links: Links,
    _programs: Ebpf,
}

/// What is attached; dropping it detaches.
#[derive(Default)]
struct Links {
    traces: Vec<TraceLink>,
    netfilter: NetfilterLinks,
    cgroups: Vec<CgroupSkbLink>,
    tc: Vec<TcLink>,
    xdp: Option<FdLink>,
}

/// Starts watching in the calling thread's network namespace; a [`crate::watching::Factory`].
///
/// # Errors
/// No such interface, no privilege, no kernel half. A hop that cannot be watched is blind, and no error.
pub fn start(request: &WatchRequest) -> Result<Box<dyn Watching>, Failure> {
    Ok(Box::new(PathWatch::start(request)?))
}

impl PathWatch {
    fn start(request: &WatchRequest) -> Result<Self, Error> {
        let begun = Instant::now();
        let device = request.interface.as_deref().map(Device::find).transpose()?;
        let running = Running::read();
        let mut attaching = Attaching::load(request, device.as_ref(), &running)?;
        attaching.attach_traces(&running);
        attaching.attach_netfilter(&running, family(request.remote));
        attaching.attach_cgroups();
        let xdp_mode = match &device {
            Some(device) => attaching.attach_nic(device, request)?,
            None => attaching.without_nic(),
        };
        let Attaching { mut programs, blind, links } = attaching;
        let question = lookups::Request {
            local: request.local,
            remote: request.remote,
            interface: request.interface.clone(),
            ids: vec![request.id],
        };
        let rules = request.trace_rules.then(|| TraceRules::begin(&question)).and_then(|begun| {
            begun.inspect_err(|why| tracing::warn!("the rule that drops will not be named: {why}")).ok()
        });
        Ok(Self {
            facts: facts(request, xdp_mode),
            probes: request.probes,
            blind,
            journeys: Journeys::take(&mut programs)?,
            ring: DropRing::take(&mut programs)?,
            skips: SkipMap::take(&mut programs)?,
            reasons: running.reasons(),
            // After attaching: the programs have addresses too.
            symbols: Symbols::read().unwrap_or_else(|_| Symbols::parse(String::new())),
            drops: Vec::new(),
            lookups: Lookups::begin(&question),
            rules,
            log: KernelLog::of(&mut programs),
            attach_time: begun.elapsed(),
            _links: links,
            _programs: programs,
        })
    }

    fn sight(&mut self) -> Result<HostSight, Error> {
        self.log.flush();
        self.take_drops();
        let seen = self.journeys.read(self.probes);
        let hop = |hop: Hop| match self.blind.get(&hop) {
            Some(why) => HopSight::Blind { why: why.clone() },
            None => {
                let (requests, replies) = seen.get(&hop).cloned().unwrap_or_default();
                HopSight::Watched { requests, replies }
            }
        };
        let skips = self.skips.read()?;
        let skipped = |skip: Skip| skips.get(&skip).copied().unwrap_or(0);
        Ok(HostSight {
            host: self.facts.clone(),
            hops: HOPS.iter().map(|row| (row.name.to_owned(), hop(row.hop))).collect(),
            drops: self.drops.clone(),
            findings: Vec::new(),
            accounting: Accounting {
                events_lost: skipped(Skip::DropsFull),
                maps_full: 0,
                attach_ms: u64::try_from(self.attach_time.as_millis()).unwrap_or(u64::MAX),
                bpf_ns_per_packet: 0,
            },
        })
    }

    /// Names the drops that came since the last look, and leaves out those that are none.
    fn take_drops(&mut self) {
        let names = Names { reasons: &self.reasons, symbols: &self.symbols };
        for event in self.ring.drain() {
            let interface = if_indextoname(event.ifindex).ok().and_then(|name| name.into_string().ok());
            let drop = names.told(&event, interface);
            match benign(&drop, &self.reasons) {
                Some(benign) => tracing::debug!("no loss: {} at {}: {}", drop.reason, drop.function, benign.why()),
                None => self.drops.push(drop),
            }
        }
    }
}

impl Watching for PathWatch {
    fn look(&mut self) -> Result<HostSight, Failure> {
        Ok(self.sight()?)
    }

    fn finish(mut self: Box<Self>) -> Result<HostSight, Failure> {
        let mut sight = self.sight()?;
        let Self { lookups, rules, .. } = *self;
        sight.findings = rules.map(TraceRules::end).unwrap_or_default();
        sight.findings.extend(lookups.end());
        Ok(sight)
    }
}

fn facts(request: &WatchRequest, xdp_mode: &str) -> HostFacts {
    let name = uname().ok();
    let told =
        |text: Option<&std::ffi::OsStr>| text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
    HostFacts {
        hostname: told(name.as_ref().map(nix::sys::utsname::UtsName::nodename)),
        interface: request.interface.clone().unwrap_or_default(),
        address: (!request.local.is_unspecified()).then_some(request.local),
        kernel: told(name.as_ref().map(nix::sys::utsname::UtsName::release)),
        xdp_mode: xdp_mode.to_owned(),
    }
}

fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// A watch that is being set up.
struct Attaching {
    programs: Ebpf,
    blind: BTreeMap<Hop, String>,
    links: Links,
}

impl Attaching {
    /// Makes the maps, and passes those programs through the verifier that need nothing of the running kernel.
    fn load(request: &WatchRequest, device: Option<&Device>, running: &Running) -> Result<Self, Error> {
        let netns = device::netns_inode().map_err(|source| Error::File {
            doing: "read",
            path: "/proc/thread-self/ns/net".into(),
            source,
        })?;
        let journey = Journey {
            nonce: request.nonce,
            // The kernel numbers namespaces with 32 bits (`struct ns_common`).
            netns: netns as u32,
            offsets: running.offsets(),
            drops: running.drop_config([request.local, request.remote]),
            drop_ring_bytes: drops::RING_BYTES,
        };
        let mut job = Job { count: Switch::Off, journey: Some(journey), ..Job::count(&[]) };
        if let Some(device) = device {
            job.link_layer = link_layer(device);
            job.ifindex = device.ifindex;
        }
        Ok(Self { programs: load::load(&job)?, blind: BTreeMap::new(), links: Links::default() })
    }

    fn blind(&mut self, hop: Hop, why: impl Into<String>) {
        self.blind.insert(hop, why.into());
    }

    /// Passes the program of `hop` through the verifier; where that fails the hop is blind.
    fn loaded(&mut self, hop: Hop, mode: Mode) -> bool {
        let loaded = hops::load(&mut self.programs, hops::program(hop, mode));
        loaded.map_err(|error| self.blind(hop, error.to_string())).is_ok()
    }

    fn attach_traces(&mut self, running: &Running) {
        let types = Btf::from_sys_fs().map_err(|error| error.to_string());
        for hop in hops::device::HOPS {
            let attached = hops::device::available(running, hop).and_then(|()| {
                let types = types.as_ref().map_err(Clone::clone)?;
                hops::device::attach(&mut self.programs, types, running, hop).map_err(|error| error.to_string())
            });
            match attached {
                Ok(links) => self.links.traces.extend(links),
                Err(why) => self.blind(hop, why),
            }
        }
        for end in [End::Dropped, End::Consumed] {
            let attached = hops::drops::available(running, end).and_then(|()| {
                let types = types.as_ref().map_err(Clone::clone)?;
                hops::drops::attach(&mut self.programs, types, end).map_err(|error| error.to_string())
            });
            match (attached, end) {
                (Ok(link), _) => self.links.traces.push(link),
                (Err(why), End::Consumed) => self.blind(Hop::IcmpIn, why),
                (Err(why), End::Dropped) => tracing::warn!("no drop events: {why}"),
            }
        }
    }

    fn attach_netfilter(&mut self, running: &Running, family: Family) {
        let links = hops::netfilter::attach(&self.programs, running, &[family]);
        let watched: BTreeSet<Hop> = links.watched().collect();
        let blind: Vec<_> = links.blind().iter().filter(|(hop, _)| !watched.contains(hop)).collect();
        self.blind.extend(blind.into_iter().map(|(hop, why)| (*hop, why.clone())));
        self.links.netfilter = links;
    }

    fn attach_cgroups(&mut self) {
        for hop in hops::cgroup::HOPS {
            match hops::cgroup::attach(&mut self.programs, hop) {
                Ok(link) => self.links.cgroups.push(link),
                Err(why) => self.blind(hop, why),
            }
        }
    }

    /// Attaches to the NIC; says how XDP is attached.
    fn attach_nic(&mut self, device: &Device, request: &WatchRequest) -> Result<&'static str, Error> {
        for hop in [Hop::TcOut, Hop::TcIn] {
            if !self.loaded(hop, Mode::TcInstead) {
                continue;
            }
            match hops::tc::attach(&mut self.programs, device, hop, request.attach.tc) {
                Ok(link) => self.links.tc.push(link),
                Err(error) => self.blind(hop, error.to_string()),
            }
        }
        let choice = xdp_mode(device, request.attach.xdp, Purpose::Observe)?;
        if choice.mode == Mode::TcInstead {
            self.blind(Hop::XdpIn, choice.why);
        } else if self.loaded(Hop::XdpIn, choice.mode) {
            match hops::xdp::attach(&mut self.programs, device, choice.mode) {
                Ok(link) => {
                    self.links.xdp = Some(link);
                    return Ok(choice.mode.name());
                }
                Err(error) => self.blind(Hop::XdpIn, error.to_string()),
            }
        }
        Ok(Mode::TcInstead.name())
    }

    fn without_nic(&mut self) -> &'static str {
        for hop in [Hop::TcOut, Hop::XdpIn, Hop::TcIn] {
            self.blind(hop, "no route, and so no interface to watch");
        }
        Mode::TcInstead.name()
    }
}
