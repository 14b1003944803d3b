//! Loads the kernel programs for one job: fills in the frozen global, sizes the maps, passes the verifier.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use aya::{Ebpf, EbpfLoader};
use probe_ebpf::{
    ABI_VERSION, Config, Direction, Family, Hop, absorb,
    contract::{
        drops::DropConfig,
        hop::NIC_HOPS,
        journey::Numbers,
        offsets::Offsets,
        tunnel::{LAYERS, MAX_SEALED, MAX_SEALING, SEALED_BIT, Tunnels},
    },
    filter,
    flow::{MAX_FLOWS, MAX_PENDING},
    names,
    packet::LinkLayer,
    tally::{IDS, rows},
};

use super::{
    KernelError, absorbed,
    border::Plain,
    crossings,
    followed::{self, FollowJob},
    hooks, hops, journeys, neighbours, object, old_kernel,
    tunnels::TunnelMap,
    words::words,
};
use crate::{filter::rules::Needs, host::device::AttachMode, model::request::RequestHandling};

/// What the programs are loaded for. A feature that is off is not in the program that the kernel runs.
#[derive(Clone, Debug)]
pub struct Job {
    /// The hops whose programs are loaded.
    pub hops: Vec<Hop>,
    /// How XDP will be attached.
    pub mode: AttachMode,
    /// Whether the programs count by id.
    pub count: Switch,
    /// The link-layer header of the device's packets.
    pub link_layer: LinkLayer,
    /// The device's index, as events carry it.
    pub ifindex: u32,
    /// Whether to keep flows, waiting requests and round-trip times.
    pub track: Switch,
    /// Whether to drop what the rules match.
    pub filter: Switch,
    /// What the rules need.
    pub needs: Needs,
    /// Whether the rules are for packets that enter or for those that leave.
    pub filtered: Direction,
    /// Which packets to copy into the ring.
    pub capture: Capture,
    /// The only IP version that is read; none: both.
    pub only: Option<Family>,
    /// Whose journeys to note, and which drops to report; none: neither.
    pub journey: Option<Journey>,
    /// What happens to the requests of that run where they enter.
    pub requests: RequestHandling,
    /// Which echoes of other programs are followed instead of probes; none: no echoes.
    pub follow: Option<FollowJob>,
    /// In the packets of which tunnels the programs at a NIC look for echo too; none: in no packets.
    pub inner: Option<Tunnels>,
}

/// A run whose probes are followed, and what its programs must know.
#[derive(Clone, Copy, Debug)]
pub struct Journey {
    /// [`probe_ebpf::Mark::nonce`] of the run.
    pub nonce: u64,
    /// What makes packets without a mark probes of the run; none: nothing does.
    pub numbered: Option<NumberedProbes>,
    /// Inode of the network namespace in which it is watched.
    pub netns: u32,
    /// Where the running kernel keeps its fields.
    pub offsets: Offsets,
    /// What the programs of drop events must know.
    pub drops: DropConfig,
    /// How many probes are noted at other devices than the watched one too; 0: those are not looked at.
    pub crossings: u16,
    /// Whether they are noted in every network namespace of this kernel.
    pub everywhere: bool,
    /// Through how many layers and inside of which kinds of tunnels they are looked for ([`Config::opens`]).
    pub opens: u32,
    /// Size of the ring of drop events: a power of two, and whole pages; usually [`crate::ebpf::drops::RING_BYTES`].
    pub drop_ring_bytes: u32,
}

/// What probes without a mark are known by.
#[derive(Clone, Copy, Debug)]
pub struct NumberedProbes {
    /// Their id, and their sequence numbers.
    pub numbers: Numbers,
    /// The address of the sending end.
    pub near: IpAddr,
    /// The address of the other end.
    pub far: IpAddr,
}

/// On or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// Not done, at no cost.
    #[default]
    Off,
    /// Done.
    On,
}

/// Which packets are copied into the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capture {
    /// None.
    #[default]
    Nothing,
    /// Every echo packet that enters.
    Everything,
    /// Those for which there is a rule.
    Matched,
}

impl Job {
    /// Returns the job that counts at `hops` of an Ethernet device, and does nothing more.
    pub fn count(hops: &[Hop]) -> Self {
        Self {
            hops: hops.to_vec(),
            mode: AttachMode::Native,
            count: Switch::On,
            link_layer: LinkLayer::Ethernet,
            ifindex: 0,
            track: Switch::Off,
            filter: Switch::Off,
            needs: Needs::default(),
            filtered: Direction::In,
            capture: Capture::Nothing,
            only: None,
            journey: None,
            requests: RequestHandling::Pass,
            follow: None,
            inner: None,
        }
    }

    fn config(&self, rows: Rows) -> Config {
        let numbered = self.journey.and_then(|journey| journey.numbered);
        let follow = self.follow;
        let number = |of: fn(Numbers) -> u16| numbered.map_or(0, |numbered| u32::from(of(numbered.numbers)));
        Config {
            abi: ABI_VERSION,
            row_mask: rows.count - 1,
            shared_rows: u32::from(rows.shared == Switch::On),
            raw_ip: u32::from(self.link_layer == LinkLayer::RawIp),
            filter: self.filter_bits(),
            filter_steps: self.needs.steps,
            track: u32::from(self.track == Switch::On),
            capture: match self.capture {
                Capture::Nothing => 0,
                Capture::Everything => probe_ebpf::config::CAPTURE_ALL,
                Capture::Matched => probe_ebpf::config::CAPTURE_MATCHED,
            },
            ifindex: self.ifindex,
            journey: u32::from(self.journey.is_some()),
            requests: match self.requests {
                RequestHandling::Pass => 0,
                RequestHandling::AnsweredByXdp => absorb::ANSWER,
                RequestHandling::AnsweredByAgent | RequestHandling::Absorbed => absorb::ABSORB,
                RequestHandling::AllAbsorbed => absorb::ABSORB_REPLIES,
            },
            netns: self.journey.map_or(0, |journey| journey.netns),
            everywhere: u32::from(self.journey.is_some_and(|journey| journey.everywhere)),
            opens: self.journey.filter(|journey| journey.crossings > 0).map_or(0, |journey| journey.opens),
            inner: self.inner.map_or(0, |tunnels| tunnels.opens() & !(LAYERS | SEALED_BIT)),
            numbered: u32::from(numbered.is_some()),
            id: follow.and_then(|follow| follow.request.id).map_or(number(|numbers| numbers.id), u32::from),
            first_seq: number(|numbers| numbers.first_seq),
            probes: follow.map_or(number(|numbers| numbers.probes), |follow| u32::from(follow.request.most)),
            nonce: self.journey.map_or(0, |journey| journey.nonce),
            follow: follow.map_or(0, |follow| follow.bits()),
            process: follow.and_then(|follow| follow.request.process).unwrap_or(0),
            pid_namespace: follow.map_or(0, |follow| follow.pid_namespace),
            learns_late: u32::from(follow.is_some_and(|follow| follow.late)),
            near: numbered.map_or([0; 2], |numbered| words(numbered.near)),
            far: match (follow, numbered) {
                (Some(follow), _) => follow.target(),
                (None, numbered) => numbered.map_or([0; 2], |numbered| words(numbered.far)),
            },
            only: match self.only {
                None => 0,
                Some(Family::V4) => probe_ebpf::config::ONLY_V4,
                Some(Family::V6) => probe_ebpf::config::ONLY_V6,
            },
        }
    }

    fn filter_bits(&self) -> u32 {
        match (self.filter, self.filtered) {
            (Switch::Off, _) => 0,
            (Switch::On, Direction::In) => filter::ON | self.needs.features,
            (Switch::On, Direction::Out) => filter::ON | filter::EGRESS | self.needs.features,
        }
    }

    /// Returns the maps that this job uses, with their sizes; the others keep the one entry that they are built with.
    fn map_sizes(&self, rows: Rows) -> Vec<(&'static str, u32)> {
        let tally = rows.count * IDS;
        let mut sizes = Vec::new();
        if self.count == Switch::On {
            sizes.extend(self.hops.iter().filter_map(|hop| Some((hop.row().tally?, tally))));
        }
        if self.filter == Switch::On {
            sizes.push((names::TALLY_DROP, tally));
        }
        if self.track == Switch::On {
            sizes.extend([(names::FLOWS, MAX_FLOWS), (names::PENDING, MAX_PENDING)]);
        }
        if self.capture != Capture::Nothing {
            sizes.push((names::EVENTS, RING_BYTES));
        }
        if let Some(journey) = self.journey {
            sizes.extend([
                (names::JOURNEYS, journeys::STEPS),
                (names::DROPS, journey.drop_ring_bytes),
                (names::NEIGHBOURS, neighbours::RING_BYTES),
            ]);
            if journey.crossings > 0 {
                sizes.extend(crossings::map_sizes(journey.crossings));
                sizes.extend(hooks::map_sizes(journey.crossings));
                if journey.opens & SEALED_BIT != 0 {
                    sizes.extend([(names::SEALED, MAX_SEALED), (names::SEALING, MAX_SEALING)]);
                }
            }
        }
        if self.follow.is_some() {
            sizes.extend(followed::map_sizes());
        }
        if self.requests.kept() {
            sizes.push((names::ABSORBED, absorbed::RING_BYTES));
        }
        sizes
    }
}

/// The rows of the tallies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// How many: a power of two.
    pub count: u32,
    /// Whether several processors share a row, which then takes atomic additions.
    pub shared: Switch,
}

impl Rows {
    /// Returns the rows of a machine with this many possible processors.
    pub fn of(processors: u32) -> Self {
        let count = rows(processors);
        Self { count, shared: if processors > count { Switch::On } else { Switch::Off } }
    }
}

/// Room for 3,500 pings of the usual size, or 200 large ones, between two reads of the ring.
const RING_BYTES: u32 = 1 << 20;

/// Returns the number of processors that this kernel could ever have: rows are chosen by processor number.
pub fn processors() -> Result<u32, KernelError> {
    aya::util::nr_cpus()
        .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
        .map_err(|(path, source)| KernelError::Processors { path: path.to_owned(), source })
}

/// Loads the maps of `job` and the programs of its NIC's hops into the kernel. Nothing is attached yet; the programs of
/// other hops are loaded when they are attached.
pub fn load(job: &Job) -> Result<Ebpf, KernelError> {
    load_sharing(job, Rows::of(processors()?), &[])
}

/// Loads like [`load`], with these rows whatever the machine has.
pub fn load_with(job: &Job, rows: Rows) -> Result<Ebpf, KernelError> {
    load_sharing(job, rows, &[])
}

/// A map pinned at a path, used instead of a new one.
pub type Shared = (&'static str, PathBuf);

/// Loads like [`load_with`], with maps that other programs use as well.
pub fn load_sharing(job: &Job, rows: Rows, shared: &[Shared]) -> Result<Ebpf, KernelError> {
    let object = object::bytes()?;
    if job.filter == Switch::On {
        old_kernel::check("rules that drop packets need")?;
    }
    let config = Plain(job.config(rows));
    let log_level = super::log::level();
    let mut loader = loader();
    loader.override_global(names::CONFIG, &config, true).override_global(aya_log::LEVEL, &log_level, true);
    let journey = job.journey.map(|journey| (Plain(journey.offsets), Plain(journey.drops)));
    if let Some((offsets, drops)) = &journey {
        loader.override_global(names::OFFSETS, offsets, true).override_global(names::DROP_CONFIG, drops, true);
    }
    for (name, size) in job.map_sizes(rows) {
        loader.map_max_entries(name, size);
    }
    for (name, path) in shared {
        loader.map_pin_path(name, path.as_path());
    }
    let mut programs = loader.load(object).map_err(|source| KernelError::Load { source: Box::new(source) })?;
    for hop in NIC_HOPS.iter().filter(|hop| job.hops.contains(hop)) {
        hops::load(&mut programs, hops::program(*hop, job.mode))?;
    }
    if let Some(tunnels) = &job.inner {
        // Not before: the programs are loaded with the map, and then keep it.
        TunnelMap::take(&mut programs)?.learn(tunnels)?;
    }
    Ok(programs)
}

/// Starts to make the loader for the next load: it reads the kernel's types, needed or not, and tests what the kernel can
/// do.
pub fn read_ahead() {
    let make = || {
        let _ = aya::features();
        EbpfLoader::new()
    };
    *AHEAD.lock().unwrap_or_else(PoisonError::into_inner) = thread::Builder::new().spawn(make).ok();
}

/// The loader that is being made for the next load.
static AHEAD: Mutex<Option<JoinHandle<EbpfLoader<'static>>>> = Mutex::new(None);

fn loader<'a>() -> EbpfLoader<'a> {
    let making = AHEAD.lock().unwrap_or_else(PoisonError::into_inner).take();
    making.and_then(|making| making.join().ok()).unwrap_or_default()
}
