//! Reads the journeys: which probe passed which hop.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::atomic::Ordering};

use aya::{Ebpf, maps::Map};
use probe_ebpf::{
    Hop, Step,
    contract::{
        hop::HOPS,
        journey::{MAX_PROBES, step_index},
        kind::Echo,
        names,
    },
};

use super::{Error, memory::Mapped};
use crate::sighting::StepSight;

const WORDS_OF_STEP: usize = size_of::<Step>() / 8;

/// Entries of the map of journeys.
pub const STEPS: u32 = HOPS.len() as u32 * 2 * MAX_PROBES;

/// What one hop saw, by probe.
pub type Seen = BTreeMap<u16, StepSight>;

/// The map of journeys, in this process's memory.
#[derive(Debug)]
pub struct Journeys {
    memory: Mapped,
}

impl Journeys {
    /// Takes it out of `programs`, which must be loaded for a journey.
    ///
    /// # Errors
    /// [`Error::NoMap`] where they are not, [`Error::Memory`] where memory is short.
    pub fn take(programs: &mut Ebpf) -> Result<Self, Error> {
        let name = names::JOURNEYS;
        let Some(Map::Array(array)) = programs.take_map(name) else { return Err(Error::NoMap { name }) };
        let entries = array.info().map_err(|source| Error::of_map(name, source))?.max_entries();
        if entries != STEPS {
            return Err(Error::NoMap { name });
        }
        let bytes = NonZeroUsize::new(STEPS as usize * size_of::<Step>()).ok_or(Error::NoMap { name })?;
        let memory = Mapped::new(array.fd(), bytes).map_err(|source| Error::Memory { name, source })?;
        Ok(Self { memory })
    }

    /// What each hop saw of requests and of replies so far, of the first `probes` probes of the run. A hop that was not
    /// watched saw nothing: who attached it knows.
    pub fn read(&self, probes: u16) -> BTreeMap<Hop, (Seen, Seen)> {
        let leg = |hop: Hop, echo: Echo| -> Seen {
            (0..probes).filter_map(|probe| Some((probe, self.step(hop, echo, probe)?))).collect()
        };
        HOPS.iter().map(|row| (row.hop, (leg(row.hop, Echo::Request), leg(row.hop, Echo::Reply)))).collect()
    }

    /// What `hop` saw of one packet so far; none: it did not pass.
    pub fn step(&self, hop: Hop, echo: Echo, probe: u16) -> Option<StepSight> {
        let first = step_index(hop as u32, echo, u32::from(probe)) as usize * WORDS_OF_STEP;
        let words = self.memory.words().get(first..first + WORDS_OF_STEP)?;
        sight(bytemuck::cast([0, 1, 2].map(|word: usize| words[word].load(Ordering::Relaxed))))
    }
}

/// A step as the kernel wrote it, for people; none where nothing passed, or what passed came back.
fn sight(step: Step) -> Option<StepSight> {
    let Step { first_ns, times, ifindex, id, ttl, detail, .. } = step;
    (times > 0).then_some(StepSight { first_ns, times, ifindex, id, ttl, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_three_words_in_the_order_of_its_fields() {
        let step = Step { first_ns: 7, times: 2, ifindex: 3, id: 0x1234, ttl: 64, reserved: 0, detail: -1 };
        let words: [u64; WORDS_OF_STEP] = bytemuck::cast(step);
        assert_eq!(words[0], 7);
        let seen = sight(bytemuck::cast(words)).expect("seen");
        assert_eq!((seen.times, seen.ifindex, seen.id, seen.ttl, seen.detail), (2, 3, 0x1234, 64, -1));
    }

    #[test]
    fn what_never_passed_or_came_back_is_not_seen() {
        assert_eq!(sight(Step::default()), None);
        assert_eq!(sight(Step { first_ns: 7, times: 0, detail: 16, ..Step::default() }), None);
    }
}
