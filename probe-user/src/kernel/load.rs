//! Loads the kernel programs for one job: fills in the frozen global, sizes the maps, passes the verifier.

use aya::{Ebpf, EbpfLoader};
use probe_ebpf::{
    ABI_VERSION, Config, Hop,
    flow::{MAX_FLOWS, MAX_PENDING},
    hop::HOPS,
    names,
    packet::LinkLayer,
    tally::{IDS, rows},
};

use super::{Error, border::Plain, hops, object};
use crate::device::Mode;

/// What the programs are loaded for. What is off is not in the program that the kernel runs.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which hops' programs are loaded.
    pub hops: Vec<Hop>,
    /// How XDP will be attached.
    pub mode: Mode,
    /// Whether they count by id.
    pub count: Switch,
    /// What the device's packets start with.
    pub link_layer: LinkLayer,
    /// The device's index, as events carry it.
    pub ifindex: u32,
    /// Whether to keep flows, waiting requests and round-trip times.
    pub track: Switch,
    /// Whether to drop what the rules match.
    pub filter: Switch,
    /// Which packets to copy into the ring.
    pub capture: Capture,
}

/// On or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// Not done, and not paid for.
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
    /// Counts at `hops` of an Ethernet device, and nothing more.
    pub fn count(hops: &[Hop]) -> Self {
        Self {
            hops: hops.to_vec(),
            mode: Mode::Native,
            count: Switch::On,
            link_layer: LinkLayer::Ethernet,
            ifindex: 0,
            track: Switch::Off,
            filter: Switch::Off,
            capture: Capture::Nothing,
        }
    }

    fn config(&self, rows: Rows) -> Config {
        Config {
            abi: ABI_VERSION,
            row_mask: rows.count - 1,
            shared_rows: u32::from(rows.shared == Switch::On),
            raw_ip: u32::from(self.link_layer == LinkLayer::RawIp),
            filter: u32::from(self.filter == Switch::On),
            track: u32::from(self.track == Switch::On),
            capture: match self.capture {
                Capture::Nothing => 0,
                Capture::Everything => probe_ebpf::config::CAPTURE_ALL,
                Capture::Matched => probe_ebpf::config::CAPTURE_MATCHED,
            },
            ifindex: self.ifindex,
        }
    }

    /// The maps that this job uses, with their sizes; the others keep the one entry that they are built with.
    fn map_sizes(&self, rows: Rows) -> Vec<(&'static str, u32)> {
        let tally = rows.count * IDS;
        let mut sizes = Vec::new();
        if self.count == Switch::On {
            sizes.extend(self.hops.iter().map(|hop| (hop.row().tally, tally)));
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
        sizes
    }
}

/// The rows of the tallies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// How many: a power of two.
    pub count: u32,
    /// Whether several processors count in one, which then takes atomic additions.
    pub shared: Switch,
}

impl Rows {
    /// Those of a machine with so many possible processors.
    pub fn of(processors: u32) -> Self {
        let count = rows(processors);
        Self { count, shared: if processors > count { Switch::On } else { Switch::Off } }
    }
}

/// Room for 3,500 pings of the usual size, or 200 large ones, between two looks at the ring.
const RING_BYTES: u32 = 1 << 20;

/// Processors that this kernel could ever have: rows are chosen by processor number.
pub fn processors() -> Result<u32, Error> {
    aya::util::nr_cpus()
        .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
        .map_err(|(path, source)| Error::Processors { path: path.to_owned(), source })
}

/// Loads the programs and maps of `job` into the kernel. Nothing is attached yet.
pub fn load(job: &Job) -> Result<Ebpf, Error> {
    load_with(job, Rows::of(processors()?))
}

/// As [`load`], with these rows whatever the machine has.
pub fn load_with(job: &Job, rows: Rows) -> Result<Ebpf, Error> {
    let object = object::bytes()?;
    let config = Plain(job.config(rows));
    let log_level = super::log::level();
    let mut loader = EbpfLoader::new();
    loader.override_global(names::CONFIG, &config, true).override_global(aya_log::LEVEL, &log_level, true);
    for (name, size) in job.map_sizes(rows) {
        loader.map_max_entries(name, size);
    }
    let mut programs = loader.load(object).map_err(|source| Error::Load { source: Box::new(source) })?;
    for row in HOPS.iter().filter(|row| job.hops.contains(&row.hop)) {
        hops::load(&mut programs, hops::program(row.hop, job.mode))?;
    }
    Ok(programs)
}
