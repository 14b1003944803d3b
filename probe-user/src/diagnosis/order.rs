//! In which order places of several kernels were crossed on a leg: pure.
//!
//! Times of one kernel come from one clock and give the order by themselves. The clocks of two kernels differ by an
//! offset that is known only roughly; but a packet's TTL falls by one at each router, so the greater TTL came first.
//! Clocks decide only if TTLs do not.

use std::cmp::{Ordering, Reverse};

/// A passage of probes at an interface of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// Which kernel's.
    pub(super) kernel: usize,
    /// Which place.
    pub(super) place: u8,
    /// When, by that kernel's clock, in nanoseconds.
    pub(super) time_ns: u64,
    /// By how many nanoseconds that clock is ahead of the sender's.
    pub(super) ahead_ns: i64,
    /// The TTL or hop limit that they had; 0: not known.
    pub(super) ttl: u8,
}

/// What one kernel saw without another of its places in between.
struct Visit {
    /// The indexes of its passages.
    passages: Vec<usize>,
    entered: Passed,
    left: Passed,
}

/// Returns the indexes of `passages` in path order. Those of one kernel stay in the order in which they are.
pub(super) fn order(passages: &[Passed]) -> Vec<usize> {
    let mut kernels: Vec<usize> = passages.iter().map(|it| it.kernel).collect();
    kernels.sort_unstable();
    kernels.dedup();
    let mut queues: Vec<Vec<Visit>> = kernels.into_iter().map(|kernel| visits(passages, kernel)).collect();
    // Taken from their ends.
    queues.iter_mut().for_each(|queue| queue.reverse());
    let mut ordered = Vec::new();
    loop {
        let heads = queues.iter().enumerate().filter_map(|(index, queue)| Some((index, queue.last()?)));
        let Some((next, _)) = heads.min_by(|(_, one), (_, other)| before(one, other)) else { return ordered };
        ordered.extend(queues[next].pop().into_iter().flat_map(|visit| visit.passages));
    }
}

fn visits(passages: &[Passed], kernel: usize) -> Vec<Visit> {
    let mut visits: Vec<Visit> = Vec::new();
    for (index, it) in passages.iter().enumerate().filter(|(_, it)| it.kernel == kernel) {
        match visits.last_mut().filter(|visit| visit.left.place == it.place) {
            Some(visit) => {
                visit.passages.push(index);
                visit.left = *it;
            }
            None => visits.push(Visit { passages: vec![index], entered: *it, left: *it }),
        }
    }
    visits
}

/// Returns which of two visits came first: a bridge before a router sees the TTL with which packets enter that router,
/// one after it the TTL with which they leave it.
fn before(one: &Visit, other: &Visit) -> Ordering {
    let known = [one, other].iter().all(|visit| visit.entered.ttl != 0 && visit.left.ttl != 0);
    let ttl = |visit: &Visit| (Reverse(visit.entered.ttl), Reverse(visit.left.ttl));
    let time = |visit: &Visit| i128::from(visit.entered.time_ns) - i128::from(visit.entered.ahead_ns);
    let by_ttl = if known { ttl(one).cmp(&ttl(other)) } else { Ordering::Equal };
    by_ttl.then_with(|| time(one).cmp(&time(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what a place saw: in with one TTL, out with another.
    fn crossed(kernel: usize, place: u8, (time_ns, ahead_ns): (u64, i64), ttls: [u8; 2]) -> [Passed; 2] {
        [0, 1].map(|index| Passed { kernel, place, time_ns: time_ns + index as u64, ahead_ns, ttl: ttls[index] })
    }

    fn places(passages: &[Passed]) -> Vec<u8> {
        let mut places: Vec<u8> = order(passages).into_iter().map(|index| passages[index].place).collect();
        places.dedup();
        places
    }

    #[test]
    fn routers_are_ordered_by_ttl_whatever_their_clocks_show() {
        let first = crossed(1, 1, (9_000, 0), [64, 63]);
        let second = crossed(2, 2, (5_000, 0), [63, 62]);
        let third = crossed(3, 3, (1_000, 0), [62, 61]);
        for passages in [[third, first, second], [first, second, third], [second, third, first]] {
            assert_eq!(places(&passages.concat()), [1, 2, 3]);
        }
    }

    #[test]
    fn a_bridge_is_before_or_behind_the_router_whose_ttl_it_leaves() {
        let router = crossed(1, 1, (5_000, 0), [64, 63]);
        let before = crossed(2, 2, (9_000, 0), [64, 64]);
        let behind = crossed(3, 3, (1_000, 0), [63, 63]);
        assert_eq!(places(&[behind, router, before].concat()), [2, 1, 3]);
    }

    #[test]
    fn clocks_decide_where_ttls_do_not() {
        let one = crossed(1, 1, (90_000, 80_000), [64, 64]);
        let other = crossed(2, 2, (20_000, 5_000), [64, 64]);
        assert_eq!(places(&[other, one].concat()), [1, 2]);
        let unknown = |it: [Passed; 2]| it.map(|it| Passed { ttl: 0, ..it });
        assert_eq!(places(&[unknown(other), one].concat()), [1, 2]);
    }

    #[test]
    fn one_kernel_that_is_crossed_twice_keeps_its_own_order() {
        let [enters, leaves] = crossed(1, 1, (1_000, 0), [64, 63]);
        let container = crossed(1, 2, (2_000, 0), [63, 63]);
        let back = crossed(1, 1, (3_000, 0), [63, 62]);
        let router = crossed(2, 3, (10, 0), [62, 61]);
        let passages = [&router[..], &[enters, leaves], &container, &back].concat();
        assert_eq!(places(&passages), [1, 2, 1, 3]);
        assert_eq!(order(&passages).len(), 8);
    }
}
