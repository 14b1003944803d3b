//! Reads the crossings: which probe passed which device other than the watched one.

use std::{collections::BTreeMap, net::IpAddr, net::Ipv6Addr, sync::atomic::Ordering};

use aya::Ebpf;
use probe_ebpf::{
    Hop, Passage,
    contract::{
        crossing::{CROSSING_HOPS, CROSSINGS_OF_PROBE, MAX_SITES, crossing_index, site_of},
        kind::Echo,
        names,
    },
};

use super::{
    KernelError,
    journeys::{PassagesByProbe, passage_at},
    memory::Mapped,
};

/// Every address is reported: nothing is known of the pair that passes there.
pub(super) const UNKNOWN: (IpAddr, IpAddr) = (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED));

/// Returns the maps of crossings with their sizes, for a run with this many probes.
pub fn map_sizes(probes: u16) -> [(&'static str, u32); 3] {
    let crossings = u32::from(probes) * CROSSINGS_OF_PROBE;
    [(names::SITES, MAX_SITES), (names::SITE_SLOTS, MAX_SITES), (names::CROSSINGS, crossings)]
}

/// A device of another network namespace, and what its hops saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteCrossings {
    /// The inode of the network namespace.
    pub netns: u32,
    /// The index of the interface in it.
    pub ifindex: u32,
    /// How many layers of tunnels the probes had around them there.
    pub layers: u8,
    /// What each hop saw of requests and of replies.
    pub hops: BTreeMap<Hop, (PassagesByProbe, PassagesByProbe)>,
}

/// The maps of crossings, in this process's memory.
#[derive(Debug)]
pub struct Crossings {
    sites: Mapped,
    passages: Mapped,
    probes: u16,
}

impl Crossings {
    /// Takes them out of `programs`, which must be loaded for the crossings of this many `probes`.
    ///
    /// # Errors
    /// [`KernelError::NoMap`] if they are not, [`KernelError::Memory`] if memory is short.
    pub fn take(programs: &mut Ebpf, probes: u16) -> Result<Self, KernelError> {
        let entries = u32::from(probes) * CROSSINGS_OF_PROBE;
        let sites = Mapped::take(programs, names::SITES, MAX_SITES, 8)?;
        let passages = Mapped::take(programs, names::CROSSINGS, entries, size_of::<Passage>())?;
        Ok(Self { sites, passages, probes })
    }

    /// Returns what was seen so far, by device in the order in which probes first met them.
    pub fn read(&self) -> Vec<SiteCrossings> {
        let words = self.sites.words().iter().map(|word| word.load(Ordering::Relaxed));
        let named = (0..).zip(words).filter(|(_, word)| *word != 0);
        named.map(|(slot, word)| self.site(slot, word)).collect()
    }

    /// Returns whether every slot is taken, so that there may be more devices than are reported.
    pub fn full(&self) -> bool {
        self.sites.words().iter().all(|word| word.load(Ordering::Relaxed) != 0)
    }

    fn site(&self, slot: u32, word: u64) -> SiteCrossings {
        let leg = |hop: u32, echo: Echo| -> PassagesByProbe {
            let step = |probe: u16| {
                Some((probe, passage_at(&self.passages, crossing_index(slot, hop, echo, u32::from(probe)), UNKNOWN)?))
            };
            (0..self.probes).filter_map(step).collect()
        };
        let hops = (0..).zip(CROSSING_HOPS);
        let hops = hops.map(|(number, hop)| (hop, (leg(number, Echo::Request), leg(number, Echo::Reply)))).collect();
        let (netns, ifindex, layers) = site_of(word);
        SiteCrossings { netns, ifindex, layers, hops }
    }
}
