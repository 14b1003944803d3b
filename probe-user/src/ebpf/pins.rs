//! Filters that outlive their command: maps, programs and links, pinned in a folder of bpffs for each interface and
//! direction.

mod folder;
mod generation;
mod hold;
mod place;

use std::{fs, path::Path};

use aya::maps::Map;
use nix::fcntl::{Flock, FlockArg};
use probe_ebpf::{ABI_VERSION, Direction, names};

use super::{
    KernelError, bpffs,
    filter::Rules,
    load::{self, Rows, Shared, processors},
    tallies::TallyMap,
};
use crate::{
    filter::rules::RuleSet,
    host::device::{AttachMode, Device},
    model::attach::{Attach, FilterSite},
};

pub(super) use folder::{HOME, PinDir, PinKind, detach, link_ifindex};
use generation::{Generation, OWN, SHARED, pin_maps, pinned_map};
pub use hold::FilterHook;
use place::FilterDir;

const LOCK: &str = "/run/probe/filter.lock";

/// Permission to change filters: one process at a time has it.
pub struct Changing(#[expect(dead_code, reason = "held until it is dropped")] Flock<fs::File>);

impl Changing {
    /// Waits until no other process changes filters.
    pub fn begin() -> Result<Self, KernelError> {
        let path = Path::new(LOCK);
        let at = |source| KernelError::File { doing: "lock", path: path.to_owned(), source };
        fs::create_dir_all(path.parent().unwrap_or(path)).map_err(at)?;
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(at)?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| at(errno.into()))?;
        Ok(Self(lock))
    }
}

/// The pinned filter of one interface in one direction.
pub struct Pinned {
    /// The interface's index.
    pub ifindex: u32,
    /// The direction of the packets that it filters.
    pub direction: Direction,
    /// The rules, and what they did.
    pub rules: Rules,
    place: FilterDir,
    generation: Generation,
}

impl Pinned {
    /// Opens the filter on `device` in `direction`, if it has one.
    ///
    /// # Errors
    /// [`KernelError::OtherAbi`] if a build of probe with another ABI put it there.
    pub fn open(device: &Device, direction: Direction) -> Result<Option<Self>, KernelError> {
        let meant = |place: &FilterDir| (place.ifindex, place.kind) == (device.ifindex, direction);
        let place = FilterDir::here()?.into_iter().filter(meant).find(FilterDir::is_live);
        place.map_or(Ok(None), |place| Self::open_live(&place))
    }

    /// Opens the filters on `device`, of both directions.
    pub fn on(device: &Device) -> Result<Vec<Self>, KernelError> {
        let both = [Direction::In, Direction::Out];
        both.into_iter().filter_map(|direction| Self::open(device, direction).transpose()).collect()
    }

    /// Opens every filter of this network namespace.
    pub fn all() -> Result<Vec<Self>, KernelError> {
        let places = FilterDir::here()?.into_iter().filter(FilterDir::is_live);
        places.filter_map(|place| Self::open_live(&place).transpose()).collect()
    }

    /// Opens the filter at `place`, unless another process has removed it since that was found. If another one replaces
    /// its rules meanwhile, it is opened with the new ones.
    fn open_live(place: &FilterDir) -> Result<Option<Self>, KernelError> {
        place.is_readable()?;
        let mut generation = place.current();
        loop {
            let Some(found) = generation else {
                // It may have been replaced between two reads; only a filter that does not run is gone.
                if !place.is_live() {
                    return Ok(None);
                }
                generation = place.current();
                continue;
            };
            match Self::open_at(place.clone(), found.clone()) {
                Err(error) => {
                    generation = place.current();
                    if generation.as_ref() == Some(&found) {
                        return Err(error);
                    }
                }
                opened => return opened.map(Some),
            }
        }
    }

    fn open_at(place: FilterDir, generation: Generation) -> Result<Self, KernelError> {
        let (shared, own) = (place.folder(), generation.folder.clone());
        let rules = Rules::of(|name| {
            let folder = if OWN.contains(&name) { &own } else { &shared };
            Map::from_map_data(pinned_map(folder, name)?).map_err(|source| KernelError::of_map(name, source))
        })?;
        Ok(Self { ifindex: place.ifindex, direction: place.kind, rules, place, generation })
    }

    /// Returns the rules as a set, as they are now.
    pub fn set(&self) -> Result<RuleSet, KernelError> {
        Ok(RuleSet::new(self.rules.read()?, self.generation.last_rule))
    }

    /// Returns where it is attached.
    pub fn site(&self) -> FilterSite {
        match self.generation.runner() {
            Some(runner) if runner.mode != AttachMode::TcInstead => FilterSite::Xdp,
            _ if self.place.is_on_clsact() => FilterSite::Clsact,
            _ => FilterSite::Tcx,
        }
    }

    /// Attaches and pins a filter with these rules on `device`; the lock keeps other processes from doing so at the same
    /// time.
    pub fn create(
        device: &Device,
        hook: FilterHook,
        attach: Attach,
        set: &RuleSet,
        _: &Changing,
    ) -> Result<Self, KernelError> {
        let runner = hold::runner(device, hook, attach)?;
        let mut programs = load::load(&runner.job(device, set.needs()))?;
        bpffs::mount()?;
        let place = FilterDir::of(device.ifindex, hook.direction())?;
        let generation = Generation::new(&place.folder(), 1, set.last_number);
        let mut make = || {
            generation.pin(&mut programs, runner)?;
            pin_maps(&programs, &place.folder(), &SHARED)?;
            let mut pinned = Self::open_at(place.clone(), generation.clone())?;
            // No filter may ever drop without rules that are listed.
            pinned.rules.fill(set)?;
            hold::attach(&mut programs, device, runner, attach.tc, &place)?;
            Ok(pinned)
        };
        let made = make();
        if made.is_err() {
            place.remove()?;
        }
        made
    }

    /// Puts `set` in force instead of the current rules: a new program with maps of its own replaces the running one from
    /// one packet to the next. The statistics of rules are kept, except for those in the slots `new`.
    ///
    /// # Errors
    /// On an error the previous rules stay in force.
    pub fn change(self, device: &Device, set: &RuleSet, new: &[u32], _: &Changing) -> Result<Self, KernelError> {
        let runner = self.generation.runner().ok_or(KernelError::NoProgram { name: names::XDP })?;
        let folder = self.place.folder();
        let shared: Vec<Shared> = SHARED.iter().map(|name| (*name, folder.join(name))).collect();
        let mut programs = load::load_sharing(&runner.job(device, set.needs()), Rows::of(processors()?), &shared)?;
        let generation = Generation::new(&folder, self.generation.number + 1, set.last_number);
        let mut make = || {
            generation.pin(&mut programs, runner)?;
            let mut pinned = Self::open_at(self.place.clone(), generation.clone())?;
            pinned.rules.fill(set)?;
            new.iter().try_for_each(|slot| pinned.rules.forget(*slot))?;
            hold::replace(&mut programs, device, runner, &self.place)?;
            Ok(pinned)
        };
        match make() {
            Ok(pinned) => {
                if let Err(error) = self.generation.remove() {
                    tracing::debug!("left for the next command to remove: {error}");
                }
                Ok(pinned)
            }
            Err(error) => {
                generation.remove()?;
                Err(error)
            }
        }
    }

    /// Makes the rule with this number end at `deadline_ns` of `CLOCK_MONOTONIC`; returns whether there is such a rule.
    pub fn extend(&mut self, number: u32, deadline_ns: u64, _: &Changing) -> Result<bool, KernelError> {
        let set = self.set()?;
        let Some((slot, rule)) = set.find(number) else { return Ok(false) };
        self.rules.move_deadline(slot, rule, deadline_ns)?;
        Ok(true)
    }

    /// Returns what this filter dropped, by id.
    pub fn dropped(&self) -> Result<TallyMap, KernelError> {
        TallyMap::of(&pinned_map(&self.place.folder(), names::TALLY_DROP)?, names::TALLY_DROP)
    }

    /// Detaches the filter and removes its rules.
    pub fn remove(self, _: &Changing) -> Result<(), KernelError> {
        self.hand_on_numbers()?;
        self.place.remove()
    }

    /// Passes the rule numbers on: they are the interface's, so the filter of the other direction must not use them again.
    fn hand_on_numbers(&self) -> Result<(), KernelError> {
        let other = if self.direction == Direction::In { Direction::Out } else { Direction::In };
        let place = PinDir { kind: other, ..self.place.clone() };
        let Some(theirs) = place.current().filter(|theirs| theirs.last_rule < self.generation.last_rule) else {
            return Ok(());
        };
        let renamed = Generation::new(&place.folder(), theirs.number, self.generation.last_rule);
        fs::rename(&theirs.folder, &renamed.folder).map_err(|source| KernelError::File {
            doing: "rename",
            path: theirs.folder,
            source,
        })
    }
}

/// Returns the highest number that a rule of `device` ever had while it has a filter.
pub fn last_number(device: &Device) -> Result<u32, KernelError> {
    let ours = |place: &FilterDir| (place.abi, place.ifindex) == (ABI_VERSION, device.ifindex);
    let current = FilterDir::here()?.into_iter().filter(ours).filter_map(|place| place.current());
    Ok(current.map(|generation| generation.last_rule).max().unwrap_or(0))
}

/// What [`sweep`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Filters that were unfinished, or whose interface is gone.
    pub filters: usize,
    /// Filters with an unfinished change, before or after it took effect.
    pub changes: usize,
}

/// Removes filters that killed processes left unfinished, and filters whose interface is gone. Returns how many there were.
pub fn sweep(_: &Changing) -> Result<Swept, KernelError> {
    let mut swept = Swept::default();
    for place in FilterDir::all() {
        if !place.is_live() {
            place.remove()?;
            swept.filters += 1;
        } else if let Some(current) = place.current() {
            let others: Vec<_> = place.generations().into_iter().filter(|other| *other != current).collect();
            others.iter().try_for_each(Generation::remove)?;
            swept.changes += usize::from(!others.is_empty());
        }
    }
    // A process may have been killed before it made more than this.
    let _ = fs::remove_dir(HOME);
    Ok(swept)
}

/// Removes the filters of this network namespace, whichever build made them, or only those on `device`. Returns the indices
/// of their interfaces.
pub fn clear(device: Option<&Device>, _: &Changing) -> Result<Vec<u32>, KernelError> {
    let meant = |place: &FilterDir| device.is_none_or(|device| device.ifindex == place.ifindex);
    let places: Vec<FilterDir> = FilterDir::here()?.into_iter().filter(meant).collect();
    places.iter().try_for_each(FilterDir::remove)?;
    let _ = fs::remove_dir(HOME);
    let mut ifindices: Vec<u32> = places.into_iter().map(|place| place.ifindex).collect();
    ifindices.dedup();
    Ok(ifindices)
}
