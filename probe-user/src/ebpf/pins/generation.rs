//! One generation of a filter's rules: its program and the maps that are that program's alone, pinned together.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::{Ebpf, maps::MapData, programs::Program};
use probe_ebpf::{Direction, Hop, filter::INNER, names};

use super::KernelError;
use crate::{
    ebpf::{
        bpf_sys, hops,
        load::{Job, Switch},
        nic::link_layer,
    },
    filter::rules::Needs,
    host::{
        device::{AttachMode, Device},
        tunnel,
    },
};

/// The maps that belong to one generation.
pub(super) const OWN: [&str; 2] = [names::RULE_INDEX, names::RULES];

/// The maps that all generations of a filter share: statistics survive a change of rules.
pub(super) const SHARED: [&str; 3] = [names::RULE_STATS, names::RULE_STATES, names::TALLY_DROP];

/// The program that a filter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilterProgram {
    pub(super) hop: Hop,
    pub(super) mode: AttachMode,
}

impl FilterProgram {
    pub(super) const ALL: [Self; 4] = [
        Self { hop: Hop::XdpIn, mode: AttachMode::Native },
        Self { hop: Hop::XdpIn, mode: AttachMode::Generic },
        Self { hop: Hop::TcIn, mode: AttachMode::TcInstead },
        Self { hop: Hop::TcOut, mode: AttachMode::TcInstead },
    ];

    pub(super) fn program(self) -> &'static str {
        hops::program(self.hop, self.mode)
    }

    /// Returns what its program is loaded for on `device`, for rules that need `needs`.
    pub(super) fn job(self, device: &Device, needs: Needs) -> Job {
        Job {
            mode: self.mode,
            count: Switch::Off,
            filter: Switch::On,
            needs,
            inner: (needs.features & INNER != 0).then(tunnel::openable),
            filtered: self.hop.direction(),
            link_layer: link_layer(device),
            ifindex: device.ifindex,
            ..Job::count(&[self.hop])
        }
    }

    /// Returns the program that filters packets in `direction` at tc.
    pub(super) fn at_tc(direction: Direction) -> Self {
        let hop = if direction == Direction::In { Hop::TcIn } else { Hop::TcOut };
        Self { hop, mode: AttachMode::TcInstead }
    }
}

/// A generation that is pinned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation {
    /// Counts up.
    pub(super) number: u64,
    /// The highest number that a rule of this interface ever had.
    pub(super) last_rule: u32,
    pub(super) folder: PathBuf,
}

impl Generation {
    /// Names the generation with these numbers in a filter's folder.
    pub(super) fn new(place: &Path, number: u64, last_rule: u32) -> Self {
        Self { number, last_rule, folder: place.join(format!("{number}-{last_rule}")) }
    }

    /// Returns the generation whose folder this is, if it is one's.
    pub(super) fn at(folder: &Path) -> Option<Self> {
        let (number, last_rule) = folder.file_name()?.to_str()?.split_once('-')?;
        Some(Self { number: number.parse().ok()?, last_rule: last_rule.parse().ok()?, folder: folder.to_owned() })
    }

    /// Returns which program it has.
    pub(super) fn runner(&self) -> Option<FilterProgram> {
        FilterProgram::ALL.into_iter().find(|runner| self.folder.join(runner.program()).exists())
    }

    /// Returns the kernel's id of its program.
    pub(super) fn program_id(&self) -> Option<u32> {
        let program = bpf_sys::open_pin(&self.folder.join(self.runner()?.program())).ok()?;
        bpf_sys::program_info(program).ok().map(|info| info.id)
    }

    /// Pins the program of `runner` and its own maps.
    pub(super) fn pin(&self, programs: &mut Ebpf, runner: FilterProgram) -> Result<(), KernelError> {
        let folder = &self.folder;
        fs::create_dir_all(folder).map_err(|source| KernelError::File {
            doing: "make",
            path: folder.clone(),
            source,
        })?;
        pin_maps(programs, folder, &OWN)?;
        let name = runner.program();
        let path = folder.join(name);
        let program = programs.program_mut(name).ok_or(KernelError::NoProgram { name })?;
        let pinned = match program {
            Program::Xdp(program) => program.pin(&path),
            Program::SchedClassifier(program) => program.pin(&path),
            _ => return Err(KernelError::NoProgram { name }),
        };
        pinned.map_err(|source| KernelError::Pin { path, source })
    }

    /// Removes its pins: the kernel keeps what still runs.
    pub(super) fn remove(&self) -> Result<(), KernelError> {
        let removed = super::folder::gone(fs::remove_dir_all(&self.folder));
        removed.map_err(|source| KernelError::File { doing: "remove", path: self.folder.clone(), source })
    }
}

/// Pins maps under their names.
pub(super) fn pin_maps(programs: &Ebpf, folder: &Path, maps: &[&'static str]) -> Result<(), KernelError> {
    for name in maps {
        let map = programs.map(name).ok_or(KernelError::NoMap { name })?;
        map.pin(folder.join(name)).map_err(|source| KernelError::Pin { path: folder.join(name), source })?;
    }
    Ok(())
}

/// Opens the map `name` that is pinned in `folder`.
pub(super) fn pinned_map(folder: &Path, name: &'static str) -> Result<MapData, KernelError> {
    MapData::from_pin(folder.join(name)).map_err(|source| KernelError::of_map(name, source))
}
