//! Loss counters, read before and after the probes: the difference says where packets may have gone.

pub mod interfaces;
pub mod snmp;
pub mod sockets;

use std::collections::BTreeMap;

use crate::host::{conntrack, counter::Counters};
use crate::model::trace::Finding;

/// Reads every loss counter of this network namespace, and of `interface`.
pub fn read(interface: Option<&str>) -> Counters {
    let mut counters = snmp::read();
    counters.extend(sockets::read());
    counters.extend(conntrack::counters());
    counters.extend(interface.map(interfaces::read).unwrap_or_default());
    counters
}

/// Returns which counters rose, and by how much. A counter that did not exist before started from zero; one that fell was
/// replaced by another of its name, which started from zero too.
pub fn risen(before: &Counters, after: &Counters) -> Vec<Finding> {
    let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, now) in after {
        let then = before.get(key).copied().filter(|then| then <= now).unwrap_or(0);
        *by_name.entry(&key.name).or_default() += now - then;
    }
    by_name.retain(|_, by| *by > 0);
    by_name.into_iter().map(|(name, by)| Finding::Counter { name: name.to_owned(), by }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::counter::CounterKey;

    fn counters(rows: &[(&str, u64, u64)]) -> Counters {
        rows.iter()
            .map(|(name, owner, value)| (CounterKey { name: (*name).to_owned(), owner: *owner }, *value))
            .collect()
    }

    #[test]
    fn only_what_rose_is_matched_by_how_much() {
        let before = counters(&[("a", 0, 5), ("b", 0, 7), ("gone", 0, 3)]);
        let after = counters(&[("a", 0, 5), ("b", 0, 9), ("new", 0, 1)]);
        let expected = [("b", 2), ("new", 1)].map(|(name, by)| Finding::Counter { name: name.to_owned(), by });
        assert_eq!(risen(&before, &after), expected);
    }

    #[test]
    fn sockets_of_one_kind_are_one_counter_and_a_closed_one_takes_nothing_away() {
        let before = counters(&[("raw.drops", 1, 100), ("raw.drops", 2, 5)]);
        let after = counters(&[("raw.drops", 2, 6), ("raw.drops", 3, 4)]);
        assert_eq!(risen(&before, &after), [Finding::Counter { name: "raw.drops".to_owned(), by: 5 }]);
    }

    #[test]
    fn a_counter_that_fell_started_again() {
        let risen = risen(&counters(&[("eth0.rx_dropped", 0, 9)]), &counters(&[("eth0.rx_dropped", 0, 2)]));
        assert_eq!(risen, [Finding::Counter { name: "eth0.rx_dropped".to_owned(), by: 2 }]);
    }
}
