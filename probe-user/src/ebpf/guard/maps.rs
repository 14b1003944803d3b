//! Reads what a guard counts and holds.

use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, PerCpuArray},
};
use probe_ebpf::{
    GuardCount, GuardRecord, GuardSet,
    guard::{BUSY, Word, tick},
    names,
    tally::IDS,
};

use crate::{
    clock::monotonic_ns,
    ebpf::{KernelError, border::Plain, memory::Mapped},
};

/// The maps of one guard.
pub struct GuardMaps {
    sets: Mapped,
    drops: Mapped,
    counts: PerCpuArray<MapData, u64>,
}

/// What a guard has counted so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// By [`GuardCount::index`].
    all: [u64; GuardCount::COUNT],
    /// States that are alive now.
    pub states: u64,
}

impl Counts {
    /// Returns how often that happened.
    pub fn of(&self, what: GuardCount) -> u64 {
        self.all[what.index() as usize]
    }

    /// Counts states that expired: those that were made, are not alive and were not evicted.
    pub fn expired_states(&self) -> u64 {
        self.of(GuardCount::Made).saturating_sub(self.of(GuardCount::Evicted)).saturating_sub(self.states)
    }

    /// Counts replies that were dropped, or would have been, for any reason.
    pub fn dropped_replies(&self) -> u64 {
        let causes = GuardCount::ALL.into_iter().filter(|what| what.is_drop() && *what != GuardCount::Denied);
        causes.map(|what| self.of(what)).sum()
    }
}

impl GuardMaps {
    /// Takes the maps out of `programs`.
    ///
    /// # Errors
    /// If this build's kernel half has no such maps, or they can't be mapped into memory.
    pub fn take(programs: &mut Ebpf) -> Result<Self, KernelError> {
        let mut map = |name: &'static str| programs.take_map(name).ok_or(KernelError::NoMap { name });
        Self::of(&map(names::GUARD_SETS)?, &map(names::GUARD_DROPS)?, map(names::GUARD_COUNTS)?)
    }

    /// Opens the guard in these maps.
    pub(super) fn of(sets: &Map, drops: &Map, counts: Map) -> Result<Self, KernelError> {
        Ok(Self {
            sets: mapped(sets, names::GUARD_SETS, size_of::<GuardSet>())?,
            drops: mapped(drops, names::GUARD_DROPS, size_of::<u64>())?,
            counts: counts.try_into().map_err(|source| KernelError::of_map(names::GUARD_COUNTS, source))?,
        })
    }

    /// Returns what was counted so far.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn read(&self) -> Result<Counts, KernelError> {
        self.read_at(monotonic_ns())
    }

    /// Returns the counts so far, and the states that are alive at `now_ns`.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn read_at(&self, now_ns: u64) -> Result<Counts, KernelError> {
        let mut all = [0; GuardCount::COUNT];
        for what in GuardCount::ALL {
            let counts = self.counts.get(&what.index(), 0);
            let counts = counts.map_err(|source| KernelError::of_map(names::GUARD_COUNTS, source))?;
            all[what.index() as usize] = counts.iter().sum();
        }
        let now = tick(now_ns);
        let lives = |word: &&AtomicU64| {
            let word = word.load(Ordering::Relaxed);
            word != BUSY && Word(word).lives(now)
        };
        Ok(Counts { all, states: self.sets.words().iter().filter(lives).count() as u64 })
    }

    /// Returns the number of packets with this id that were dropped, or would have been.
    pub fn dropped(&self, id: u16) -> u64 {
        self.drops.words()[usize::from(id) % IDS as usize].load(Ordering::Relaxed)
    }
}

fn mapped(map: &Map, name: &'static str, entry: usize) -> Result<Mapped, KernelError> {
    let Map::Array(array) = map else { return Err(KernelError::NoMap { name }) };
    let entries = array.info().map_err(|source| KernelError::of_map(name, source))?.max_entries();
    let bytes = NonZeroUsize::new(entries as usize * entry).ok_or(KernelError::NoMap { name })?;
    Mapped::new(array.fd(), bytes).map_err(|source| KernelError::Memory { name, source })
}

/// Stores the options of a guard for commands that list it.
pub(super) fn write_record(programs: &mut Ebpf, record: &GuardRecord) -> Result<(), KernelError> {
    let map = programs.map_mut(names::GUARD).ok_or(KernelError::NoMap { name: names::GUARD })?;
    let of_map = |source| KernelError::of_map(names::GUARD, source);
    let mut array: Array<_, Plain<GuardRecord>> = map.try_into().map_err(of_map)?;
    array.set(0, Plain(*record), 0).map_err(of_map)
}

/// Reads the options of the guard with this record.
pub(super) fn read_record(map: Map) -> Result<GuardRecord, KernelError> {
    let of_map = |source| KernelError::of_map(names::GUARD, source);
    let array: Array<MapData, Plain<GuardRecord>> = map.try_into().map_err(of_map)?;
    array.get(&0, 0).map(|record| record.0).map_err(of_map)
}
