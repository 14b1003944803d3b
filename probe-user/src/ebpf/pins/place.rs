//! Where the pins of a filter are, and whether anything still runs them.
//!
//! A folder of bpffs holds what the programs of a filter share, its link, and a folder for each generation of its rules:
//! `filter-ABI-NETNS-IFINDEX-DIRECTION/{link,MAPS,GENERATION-LAST/{PROGRAM,MAPS}}`. The generation in force is the one
//! whose program runs: the kernel changes that in one step.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use bytemuck::{Pod, Zeroable};
use probe_ebpf::{ABI_VERSION, Direction};

use super::{
    KernelError,
    generation::{Generation, gone},
};
use crate::{
    ebpf::{bpf_sys, hops::clsact},
    host::device::{self, tc_filters},
};

/// The folder of all filters.
pub(crate) const HOME: &str = "/sys/fs/bpf/probe";
const LINK: &str = "link";
/// Empty folders that say: this filter is on a clsact qdisc, and the qdisc was made for it.
const CLSACT: &str = "clsact";
const CLSACT_MADE: &str = "clsact_made";

/// The folder with the pins of a filter: its name says whose they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PinDir {
    pub(super) abi: u32,
    pub(super) netns: u64,
    pub(super) ifindex: u32,
    pub(super) direction: Direction,
}

impl PinDir {
    pub(super) fn of(ifindex: u32, direction: Direction) -> Result<Self, KernelError> {
        Ok(Self { abi: ABI_VERSION, netns: netns()?, ifindex, direction })
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("filter-")?.split('-');
        let place = Self {
            abi: parts.next()?.parse().ok()?,
            netns: parts.next()?.parse().ok()?,
            ifindex: parts.next()?.parse().ok()?,
            direction: match parts.next() {
                // Builds before ABI 2 filtered at ingress only.
                None | Some("in") => Direction::In,
                Some("out") => Direction::Out,
                Some(_) => return None,
            },
        };
        parts.next().is_none().then_some(place)
    }

    pub(super) fn folder(&self) -> PathBuf {
        let direction = match (self.abi, self.direction) {
            (..2, _) => "",
            (_, Direction::In) => "-in",
            (_, Direction::Out) => "-out",
        };
        Path::new(HOME).join(format!("filter-{}-{}-{}{direction}", self.abi, self.netns, self.ifindex))
    }

    /// Lists every folder of pins, of this or another network namespace, of this or another build.
    pub(super) fn all() -> Vec<Self> {
        let Ok(files) = fs::read_dir(HOME) else { return Vec::new() };
        let names = files.filter_map(Result::ok).filter_map(|file| file.file_name().into_string().ok());
        let mut places: Vec<Self> = names.filter_map(|name| Self::parse(&name)).collect();
        places.sort();
        places
    }

    pub(super) fn link(&self) -> PathBuf {
        self.folder().join(LINK)
    }

    /// Returns what runs for this folder.
    pub(super) fn running(&self) -> PinState {
        match link_info(&self.link()) {
            Ok(link) if link.ifindex == self.ifindex => PinState::Link(link.program_id),
            Ok(_) => PinState::Nothing,
            Err(_) if self.is_on_clsact() => self.running_on_clsact(),
            Err(_) => PinState::Nothing,
        }
    }

    fn running_on_clsact(&self) -> PinState {
        if netns().ok() != Some(self.netns) {
            return PinState::Unseen;
        }
        let filters = tc_filters::read(Some(self.ifindex)).unwrap_or_default();
        let here = filters.into_values().flatten().filter(|filter| filter.direction == self.direction);
        let ids: BTreeSet<u32> = here.filter_map(|filter| filter.program_id).collect();
        match self.generations().iter().filter_map(Generation::program_id).find(|id| ids.contains(id)) {
            Some(id) => PinState::Clsact(id),
            None => PinState::Nothing,
        }
    }

    /// Reports whether something runs: not if the device is gone, or if a process was killed before it attached.
    pub(super) fn is_live(&self) -> bool {
        self.running() != PinState::Nothing
    }

    /// Returns its generations, in force or not.
    pub(super) fn generations(&self) -> Vec<Generation> {
        let Ok(files) = fs::read_dir(self.folder()) else { return Vec::new() };
        let mut found: Vec<_> = files.filter_map(|file| Generation::at(&file.ok()?.path())).collect();
        found.sort();
        found
    }

    /// Returns the generation in force.
    pub(super) fn current(&self) -> Option<Generation> {
        let (PinState::Link(id) | PinState::Clsact(id)) = self.running() else { return None };
        self.generations().into_iter().find(|generation| generation.program_id() == Some(id))
    }

    /// Reports whether it is on a clsact qdisc.
    pub(super) fn is_on_clsact(&self) -> bool {
        self.folder().join(CLSACT).exists()
    }

    /// Notes in advance that it will be on a clsact qdisc, and whether that has to be made.
    pub(super) fn note_clsact(&self, made: bool) -> io::Result<()> {
        if made {
            fs::create_dir_all(self.folder().join(CLSACT_MADE))?;
        }
        fs::create_dir_all(self.folder().join(CLSACT))
    }

    /// Detaches the program, then removes the pins of the maps.
    pub(super) fn remove(&self) -> Result<(), KernelError> {
        let folder = self.folder();
        self.detach();
        let remove_all = || {
            gone(fs::remove_file(self.link()))?;
            gone(fs::remove_dir_all(&folder))
        };
        remove_all().map_err(|source| KernelError::File { doing: "remove", path: folder.clone(), source })?;
        // Succeeds for the last filter; fails, harmlessly, while there is another.
        let _ = fs::remove_dir(HOME);
        Ok(())
    }

    fn detach(&self) {
        // Unlinking the pin closes the link in any case; but without this the interface may stay taken for a while.
        let link = self.link();
        if link.exists()
            && let Err(error) = bpf_sys::open_pin(&link).and_then(|link| bpf_sys::detach_link(&link))
        {
            tracing::debug!("{} is not detached: {error}", link.display());
        }
        if self.is_on_clsact() && netns().ok() == Some(self.netns) {
            if matches!(self.running(), PinState::Clsact(_)) {
                clsact::detach_lasting(self.ifindex, self.direction);
            }
            if self.folder().join(CLSACT_MADE).exists() {
                clsact::remove_unused_qdisc(self.ifindex);
            }
        }
    }
}

/// What runs for a folder of pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PinState {
    /// Its link runs the program with this id.
    Link(u32),
    /// A clsact filter runs it.
    Clsact(u32),
    /// Nothing.
    Nothing,
    /// Unknown: a clsact filter of another network namespace cannot be seen from here.
    Unseen,
}

pub(crate) fn netns() -> Result<u64, KernelError> {
    device::netns_inode().map_err(|source| KernelError::File {
        doing: "read",
        path: "/proc/thread-self/ns/net".into(),
        source,
    })
}

/// The first part of `struct bpf_link_info`, as links of XDP and TCX fill it in.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program_id: u32,
    padding: u32,
    /// 0: the interface is gone.
    ifindex: u32,
    more: u32,
}

/// Returns the interface that the XDP or TCX link pinned at `path` holds; 0 if it is gone.
pub(crate) fn link_ifindex(path: &Path) -> io::Result<u32> {
    Ok(link_info(path)?.ifindex)
}

fn link_info(path: &Path) -> io::Result<LinkInfo> {
    bpf_sys::object_info(&bpf_sys::open_pin(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_whose_it_is() {
        for (abi, direction) in [(1, Direction::In), (3, Direction::In), (3, Direction::Out)] {
            let place = PinDir { abi, netns: 4_026_531_840, ifindex: 2, direction };
            let name = place.folder().file_name().and_then(|name| name.to_str()).map(str::to_owned);
            assert_eq!(name.as_deref().and_then(PinDir::parse), Some(place));
        }
        for other in ["filter-1-2", "filter-1-2-3-4", "filter-2-2-3-in-4", "other-1-2-3", "filter-a-b-c"] {
            assert_eq!(PinDir::parse(other), None, "{other}");
        }
    }
}
