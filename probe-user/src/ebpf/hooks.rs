//! Reads what netfilter's hooks of other network namespaces saw, and what those of any namespace saw inside the packets
//! of tunnels; gives those namespaces their slots.

use std::collections::BTreeMap;

use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData},
};
use probe_ebpf::{
    Hop, Passage,
    contract::{
        hook::{HOOK_HOPS, HOOKS_OF_PROBE, MAX_HOOKED, hook_index, hook_key},
        kind::Echo,
        names,
    },
};

use super::{
    KernelError,
    crossings::UNKNOWN,
    journeys::{PassagesByProbe, passage_at},
    memory::Mapped,
};

/// Returns the maps of hooks with their sizes, for a run with this many probes.
pub fn map_sizes(probes: u16) -> [(&'static str, u32); 2] {
    [(names::HOOK_SLOTS, MAX_HOOKED), (names::HOOKS, u32::from(probes) * HOOKS_OF_PROBE)]
}

/// What each hop saw of requests and of replies.
pub type PassagesByHop = BTreeMap<Hop, (PassagesByProbe, PassagesByProbe)>;

/// The maps of hooks: the slots, and in this process's memory what was seen.
#[derive(Debug)]
pub struct Hooks {
    slots: HashMap<MapData, u64, u32>,
    given: u32,
    passages: Mapped,
    probes: u16,
}

impl Hooks {
    /// Takes them out of `programs`, which must be loaded for the crossings of this many `probes` in every namespace.
    ///
    /// # Errors
    /// [`KernelError::NoMap`] if they are not, [`KernelError::Memory`] if memory is short.
    pub fn take(programs: &mut Ebpf, probes: u16) -> Result<Self, KernelError> {
        let missing = || KernelError::NoMap { name: names::HOOK_SLOTS };
        let slots: Map = programs.take_map(names::HOOK_SLOTS).ok_or_else(missing)?;
        let slots = HashMap::try_from(slots).map_err(|source| KernelError::of_map(names::HOOK_SLOTS, source))?;
        let passages = Mapped::take(programs, names::HOOKS, u32::from(probes) * HOOKS_OF_PROBE, size_of::<Passage>())?;
        Ok(Self { slots, given: 0, passages, probes })
    }

    /// Gives the namespace with the inode `netns` a slot for probes with this many layers of tunnels around them: from
    /// here on, those that pass programs attached in it are noted there. `None` if every slot is taken.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn give(&mut self, netns: u32, layers: u8) -> Result<Option<u32>, KernelError> {
        if self.given >= MAX_HOOKED {
            return Ok(None);
        }
        let slot = self.given;
        self.slots
            .insert(hook_key(netns, layers), slot, 0)
            .map_err(|source| KernelError::of_map(names::HOOK_SLOTS, source))?;
        self.given += 1;
        Ok(Some(slot))
    }

    /// Returns what was seen so far in the namespace with this slot, by hop.
    pub fn read(&self, slot: u32) -> PassagesByHop {
        let leg = |hop: u32, echo: Echo| -> PassagesByProbe {
            let step = |probe: u16| {
                Some((probe, passage_at(&self.passages, hook_index(slot, hop, echo, u32::from(probe)), UNKNOWN)?))
            };
            (0..self.probes).filter_map(step).collect()
        };
        let hops = (0..).zip(HOOK_HOPS);
        hops.map(|(number, hop)| (hop, (leg(number, Echo::Request), leg(number, Echo::Reply)))).collect()
    }
}
