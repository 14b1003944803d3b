//! Where the pins of a filter are, and whether anything still runs them.
//!
//! A folder of bpffs holds what the programs of a filter share, its link, and a folder for each generation of its rules:
//! `filter-ABI-NETNS-IFINDEX-DIRECTION/{link,MAPS,GENERATION-LAST/{PROGRAM,MAPS}}`. The generation in force is the one
//! whose program runs: the kernel changes that in one step.

use std::{collections::BTreeSet, fs, io, path::PathBuf};

use probe_ebpf::Direction;

use super::{
    KernelError,
    folder::{self, PinDir, PinKind, link_info, netns},
    generation::Generation,
};
use crate::{ebpf::hops::clsact, host::device::tc_filters};

const LINK: &str = "link";
/// Empty folders that say: this filter is on a clsact qdisc, and the qdisc was made for it.
const CLSACT: &str = "clsact";
const CLSACT_MADE: &str = "clsact_made";

/// Where the pins of a filter are.
pub(super) type FilterDir = PinDir<Direction>;

impl PinKind for Direction {
    const NAME: &'static str = "filter";

    fn suffix(&self, abi: u32) -> &'static str {
        match (abi, self) {
            (..2, _) => "",
            (_, Self::In) => "-in",
            (_, Self::Out) => "-out",
        }
    }

    fn parse(word: Option<&str>) -> Option<Self> {
        match word {
            // Builds before ABI 2 filtered at ingress only.
            None | Some("in") => Some(Self::In),
            Some("out") => Some(Self::Out),
            Some(_) => None,
        }
    }
}

impl FilterDir {
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
        let here = filters.into_values().flatten().filter(|filter| filter.direction == self.kind);
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
        self.detach();
        self.forget(&[self.link()])
    }

    fn detach(&self) {
        folder::detach(&self.link());
        if self.is_on_clsact() && netns().ok() == Some(self.netns) {
            if matches!(self.running(), PinState::Clsact(_)) {
                clsact::detach_lasting(self.ifindex, self.kind);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_whose_it_is() {
        for (abi, direction) in [(1, Direction::In), (3, Direction::In), (3, Direction::Out)] {
            let place = PinDir { abi, netns: 4_026_531_840, ifindex: 2, kind: direction };
            let name = place.folder().file_name().and_then(|name| name.to_str()).map(str::to_owned);
            assert_eq!(name.as_deref().and_then(FilterDir::parse), Some(place));
        }
        for other in ["filter-1-2", "filter-1-2-3-4", "filter-2-2-3-in-4", "other-1-2-3", "filter-a-b-c"] {
            assert_eq!(FilterDir::parse(other), None, "{other}");
        }
    }
}
