//! What was counted on one NIC up to one moment: plain data, read once, from which everything else follows.

use std::collections::BTreeMap;

use probe_ebpf::{Count, Hop, Kind, Skip, Tally};

/// Counters by id, for every id that was seen.
pub type Tallies = BTreeMap<u16, Tally>;

/// What one NIC's hops counted since all of them were attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By hop; a missing hop was not attached: it is blind, and its silence means nothing.
    pub hops: BTreeMap<Hop, Tallies>,
    /// What probe's own filter dropped on this NIC.
    pub dropped: Tallies,
    /// What could not be counted, by cause.
    pub skips: BTreeMap<Skip, u64>,
}

impl Snapshot {
    /// Returns what `hop` counted of `kind` with `id`; `None` if the hop is blind.
    pub fn count(&self, hop: Hop, kind: Kind, id: u16) -> Option<Count> {
        let tallies = self.hops.get(&hop)?;
        Some(tallies.get(&id).map_or_else(Count::default, |tally| tally.kinds[kind.index()]))
    }

    /// Returns what was counted between `earlier` and this snapshot of the same NIC.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let hops = self.hops.iter().map(|(hop, now)| {
            let then = earlier.hops.get(hop);
            (*hop, then.map_or_else(|| now.clone(), |then| difference(now, then)))
        });
        let skips = self.skips.iter().filter_map(|(skip, now)| {
            let more = now.saturating_sub(earlier.skips.get(skip).copied().unwrap_or(0));
            (more > 0).then_some((*skip, more))
        });
        Self { hops: hops.collect(), dropped: difference(&self.dropped, &earlier.dropped), skips: skips.collect() }
    }
}

/// Returns what was counted between two readings of one counter.
pub fn between(earlier: Count, later: Count) -> Count {
    Count { packets: later.packets.saturating_sub(earlier.packets), bytes: later.bytes.saturating_sub(earlier.bytes) }
}

fn difference(now: &Tallies, then: &Tallies) -> Tallies {
    let less = |id: &u16, tally: &Tally| {
        let Some(then) = then.get(id) else { return *tally };
        Tally { kinds: std::array::from_fn(|kind| between(then.kinds[kind], tally.kinds[kind])) }
    };
    let changed = now.iter().map(|(id, tally)| (*id, less(id, tally)));
    changed.filter(|(_, tally)| tally.kinds.iter().any(|count| count.packets > 0)).collect()
}

#[cfg(test)]
mod tests {
    use probe_ebpf::{Echo, Family};

    use super::*;

    const REQUEST: Kind = Kind { family: Family::V4, echo: Echo::Request };

    fn tallies(id: u16, packets: u64) -> Tallies {
        let mut tally = Tally::default();
        tally.kinds[REQUEST.index()] = Count { packets, bytes: packets * 84 };
        BTreeMap::from([(id, tally)])
    }

    fn snapshot(packets: u64) -> Snapshot {
        Snapshot { hops: BTreeMap::from([(Hop::TcIn, tallies(7, packets))]), ..Snapshot::default() }
    }

    #[test]
    fn a_hop_that_was_not_attached_counts_nothing_rather_than_zero() {
        assert_eq!(snapshot(3).count(Hop::XdpIn, REQUEST, 7), None);
        assert_eq!(snapshot(3).count(Hop::TcIn, REQUEST, 8), Some(Count::default()));
        assert_eq!(snapshot(3).count(Hop::TcIn, REQUEST, 7), Some(Count { packets: 3, bytes: 252 }));
    }

    #[test]
    fn the_difference_of_two_snapshots_is_what_came_between() {
        let between = snapshot(5).since(&snapshot(3));
        assert_eq!(between.count(Hop::TcIn, REQUEST, 7), Some(Count { packets: 2, bytes: 168 }));
        assert!(snapshot(5).since(&snapshot(5)).hops[&Hop::TcIn].is_empty());
    }
}
