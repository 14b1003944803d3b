//! Reads the journeys: which probe passed which hop.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::atomic::Ordering,
};

use aya::Ebpf;
use probe_ebpf::{
    Hop, Passage,
    contract::{
        hop::HOPS,
        journey::{MAX_PROBES, passage_index},
        kind::{Direction, Echo},
        names,
    },
};

use super::{KernelError, memory::Mapped};
use crate::ebpf::drops::event_address;
use crate::model::trace::ProbePassage;

const WORDS_OF_STEP: usize = size_of::<Passage>() / 8;

/// Entries of the map of journeys.
pub const STEPS: u32 = HOPS.len() as u32 * 2 * MAX_PROBES;

/// What one hop saw, by probe.
pub type PassagesByProbe = BTreeMap<u16, ProbePassage>;

/// The map of journeys, in this process's memory.
#[derive(Debug)]
pub struct Journeys {
    memory: Mapped,
    pair: Pair,
}

/// The addresses that the run's packets have unless somebody rewrites them; unspecified if not known.
#[derive(Clone, Copy, Debug)]
struct Pair {
    /// The address of this end.
    local: IpAddr,
    /// The address of the other end.
    remote: IpAddr,
}

impl Pair {
    /// Neither address is known, so every address is reported.
    const UNKNOWN: Self = Self { local: IpAddr::V6(Ipv6Addr::UNSPECIFIED), remote: IpAddr::V6(Ipv6Addr::UNSPECIFIED) };

    /// Returns source and destination of packets that travel in `direction`.
    fn ends(self, direction: Direction) -> (IpAddr, IpAddr) {
        match direction {
            Direction::Out => (self.local, self.remote),
            Direction::In => (self.remote, self.local),
        }
    }
}

impl Journeys {
    /// Takes the map out of `programs`, which must be loaded for a journey.
    ///
    /// # Errors
    /// [`KernelError::NoMap`] if they are not, [`KernelError::Memory`] if memory is short.
    pub fn take(programs: &mut Ebpf) -> Result<Self, KernelError> {
        let memory = Mapped::take(programs, names::JOURNEYS, STEPS, size_of::<Passage>())?;
        Ok(Self { memory, pair: Pair::UNKNOWN })
    }

    /// Makes it report, from now on, only addresses other than those of this pair.
    #[must_use]
    pub fn between(self, local: IpAddr, remote: IpAddr) -> Self {
        Self { pair: Pair { local, remote }, ..self }
    }

    /// Returns what each hop saw of requests and of replies so far, of the first `probes` probes of the run. A hop that was
    /// not watched saw nothing: only its attacher can tell the difference.
    pub fn read(&self, probes: u16) -> BTreeMap<Hop, (PassagesByProbe, PassagesByProbe)> {
        let leg = |hop: Hop, echo: Echo| -> PassagesByProbe {
            (0..probes).filter_map(|probe| Some((probe, self.step(hop, echo, probe)?))).collect()
        };
        HOPS.iter().map(|row| (row.hop, (leg(row.hop, Echo::Request), leg(row.hop, Echo::Reply)))).collect()
    }

    /// Returns what `hop` saw of one packet so far; `None` if it did not pass.
    pub fn step(&self, hop: Hop, echo: Echo, probe: u16) -> Option<ProbePassage> {
        let index = passage_index(hop as u32, echo, u32::from(probe));
        passage_at(&self.memory, index, self.pair.ends(hop.direction()))
    }
}

/// Reads the passage with this index of a map; of addresses only those that differ from the expected ends. `None` if nothing
/// passed.
pub(super) fn passage_at(memory: &Mapped, index: u32, ends: (IpAddr, IpAddr)) -> Option<ProbePassage> {
    let first = index as usize * WORDS_OF_STEP;
    let words = memory.words().get(first..first + WORDS_OF_STEP)?;
    let words: [u64; WORDS_OF_STEP] = std::array::from_fn(|word| words[word].load(Ordering::Relaxed));
    sight(bytemuck::cast(words), ends)
}

/// Converts a step from the kernel's form; `None` if nothing passed, or the packet came back.
fn sight(step: Passage, (source, destination): (IpAddr, IpAddr)) -> Option<ProbePassage> {
    let Passage { first_ns, times, ifindex, id, ttl, detail, unmarked, .. } = step;
    let unless = |bytes: [u8; 16], expected: IpAddr| Some(event_address(bytes)).filter(|address| *address != expected);
    (times > 0).then(|| ProbePassage {
        first_ns,
        times,
        ifindex,
        id,
        ttl,
        detail,
        unmarked: unmarked != 0,
        source: unless(step.source, source),
        destination: unless(step.destination, destination),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_seven_words_in_the_order_of_its_fields() {
        let step = Passage {
            first_ns: 7,
            times: 2,
            ifindex: 3,
            id: 0x1234,
            ttl: 64,
            unmarked: 0,
            detail: -1,
            ..Passage::default()
        };
        let words: [u64; WORDS_OF_STEP] = bytemuck::cast(step);
        assert_eq!((words[0], words.len()), (7, 7));
        let seen = sight(bytemuck::cast(words), Pair::UNKNOWN.ends(Direction::In)).expect("seen");
        assert_eq!((seen.times, seen.ifindex, seen.id, seen.ttl, seen.detail), (2, 3, 0x1234, 64, -1));
    }

    #[test]
    fn only_an_address_that_is_not_the_pairs_is_told() {
        let [local, remote, outside] = [[10, 0, 0, 1], [10, 0, 0, 2], [192, 0, 2, 1]].map(IpAddr::from);
        let pair = Pair { local, remote };
        let wire = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let step = |source, destination| Passage {
            times: 1,
            source: wire(source),
            destination: wire(destination),
            ..Passage::default()
        };
        let addresses = |step, direction| {
            let seen = sight(step, pair.ends(direction)).expect("seen");
            (seen.source, seen.destination)
        };
        assert_eq!(addresses(step(remote, local), Direction::In), (None, None));
        assert_eq!(addresses(step(local, remote), Direction::Out), (None, None));
        assert_eq!(addresses(step(outside, local), Direction::In), (Some(outside), None));
        assert_eq!(addresses(step(local, outside), Direction::Out), (None, Some(outside)));
    }

    #[test]
    fn what_never_passed_or_came_back_is_not_seen() {
        let ends = Pair::UNKNOWN.ends(Direction::Out);
        assert_eq!(sight(Passage::default(), ends), None);
        assert_eq!(sight(Passage { first_ns: 7, times: 0, detail: 16, ..Passage::default() }, ends), None);
    }
}
