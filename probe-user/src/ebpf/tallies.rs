//! Reads the counters: tallies by id, and skips by cause.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::{
    Ebpf,
    maps::{Map, MapData, PerCpuArray},
};
use probe_ebpf::{Count, Hop, Kind, Skip, Tally, names, tally::IDS};

use super::{KernelError, memory::Mapped};
use crate::model::snapshot::Tallies;

const WORDS_OF_TALLY: usize = size_of::<Tally>() / 8;

/// The tallies of one hop.
#[derive(Debug)]
pub struct TallyMap {
    memory: Mapped,
    rows: usize,
}

impl TallyMap {
    /// Takes the tally called `name` out of `programs`.
    pub fn take(programs: &mut Ebpf, name: &'static str) -> Result<Self, KernelError> {
        let Some(Map::Array(array)) = programs.take_map(name) else { return Err(KernelError::NoMap { name }) };
        Self::of(&array, name)
    }

    /// Maps the tally in `array`, which is called `name`.
    pub fn of(array: &MapData, name: &'static str) -> Result<Self, KernelError> {
        let entries = array.info().map_err(|source| KernelError::Map { name, source: Box::new(source) })?.max_entries();
        let rows = (entries / IDS) as usize;
        let bytes = NonZeroUsize::new(rows * IDS as usize * size_of::<Tally>()).ok_or(KernelError::NoMap { name })?;
        let memory = Mapped::new(array.fd(), bytes).map_err(|source| KernelError::Memory { name, source })?;
        Ok(Self { memory, rows })
    }

    /// Returns what was counted so far, for every id that was seen.
    pub fn read(&self) -> Tallies {
        let all = (0..=u16::MAX).filter_map(|id| self.of_id(id).map(|tally| (id, tally)));
        all.collect()
    }

    /// Returns what was counted so far for `id`; `None` if it was never seen.
    fn of_id(&self, id: u16) -> Option<Tally> {
        let mut sum = None;
        for row in self.rows() {
            let words = &row[usize::from(id) * WORDS_OF_TALLY..][..WORDS_OF_TALLY];
            let tally = Tally { kinds: std::array::from_fn(|kind| count(words, kind)) };
            if tally.kinds.iter().any(|count| count.packets > 0) {
                add(sum.get_or_insert_default(), &tally);
            }
        }
        sum
    }

    fn rows(&self) -> impl Iterator<Item = &[AtomicU64]> {
        self.memory.words().chunks_exact(IDS as usize * WORDS_OF_TALLY).take(self.rows)
    }

    /// Returns what was counted so far for one kind and id.
    pub fn count(&self, kind: Kind, id: u16) -> Count {
        let counts = self.rows().map(|row| count(&row[usize::from(id) * WORDS_OF_TALLY..], kind.index()));
        counts.fold(Count::default(), |sum, count| Count {
            packets: sum.packets + count.packets,
            bytes: sum.bytes + count.bytes,
        })
    }
}

/// Reads the tallies of several hops, each id at all of them before the next id. A difference between two hops is then what
/// was under way between them, and not what came while the first was read.
pub fn read_together(maps: &BTreeMap<Hop, TallyMap>) -> BTreeMap<Hop, Tallies> {
    let mut read: BTreeMap<Hop, Tallies> = maps.keys().map(|hop| (*hop, Tallies::new())).collect();
    for id in 0..=u16::MAX {
        for (hop, map) in maps {
            if let (Some(tally), Some(tallies)) = (map.of_id(id), read.get_mut(hop)) {
                tallies.insert(id, tally);
            }
        }
    }
    read
}

/// Returns the count of the kind with index `kind` in the words of a tally.
fn count(words: &[AtomicU64], kind: usize) -> Count {
    Count { packets: words[2 * kind].load(Ordering::Relaxed), bytes: words[2 * kind + 1].load(Ordering::Relaxed) }
}

fn add(sum: &mut Tally, tally: &Tally) {
    for index in 0..Kind::COUNT {
        sum.kinds[index].packets += tally.kinds[index].packets;
        sum.kinds[index].bytes += tally.kinds[index].bytes;
    }
}

/// The counters of packets that were not counted, by cause.
pub struct SkipMap(PerCpuArray<MapData, u64>);

impl SkipMap {
    /// Takes the skips out of `programs`.
    pub fn take(programs: &mut Ebpf) -> Result<Self, KernelError> {
        let name = names::SKIPS;
        let map = programs.take_map(name).ok_or(KernelError::NoMap { name })?;
        Ok(Self(map.try_into().map_err(|source| KernelError::Map { name, source: Box::new(source) })?))
    }

    /// Returns how often each cause occurred so far; causes that did not occur are left out.
    pub fn read(&self) -> Result<BTreeMap<Skip, u64>, KernelError> {
        let mut skips = BTreeMap::new();
        for skip in Skip::ALL {
            let counters = self
                .0
                .get(&skip.index(), 0)
                .map_err(|source| KernelError::Map { name: names::SKIPS, source: Box::new(source) })?;
            let sum: u64 = counters.iter().sum();
            if sum > 0 {
                skips.insert(skip, sum);
            }
        }
        Ok(skips)
    }
}
