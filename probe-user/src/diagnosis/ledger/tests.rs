//! Where a way stops, on plain sets of probes: by example, and for every set that there can be.

use proptest::prelude::*;

use super::*;

/// A checkpoint of a test: its place on the way.
impl Watched for usize {
    fn duty(&self) -> Requirement {
        Requirement::Must
    }
}

/// Returns the ledger of `sent` probes over rows of which each saw the first so many; `None`: it was blind.
fn ledger(sent: u16, counts: &[Option<u16>]) -> Ledger<usize> {
    of_sets(sent, counts.iter().map(|count| count.map(|count| (0..count).collect())))
}

fn of_sets(sent: u16, seen: impl IntoIterator<Item = Option<BTreeSet<u16>>>) -> Ledger<usize> {
    let row = |(step, seen): (usize, Option<BTreeSet<u16>>)| {
        let blind = seen.is_none().then(|| "not attached".to_owned());
        LedgerRow { step, seen: seen.unwrap_or_default(), proven: BTreeSet::new(), blind }
    };
    Ledger::over(seen.into_iter().enumerate().map(row).collect(), 0..sent)
}

/// Returns one line for each stretch: `packets: last > first [blind between]`.
fn told(ledger: &Ledger<usize>) -> Vec<String> {
    let line = |stretch: &Stretch| {
        let blind: Vec<usize> = ledger.blind_between(stretch).map(|(step, _)| *step).collect();
        format!("{}: {} > {} {blind:?}", stretch.probes.len(), stretch.last, stretch.first)
    };
    ledger.stretches().iter().map(line).collect()
}

#[test]
fn a_healthy_way_has_no_gap() {
    assert_eq!(told(&ledger(5, &[Some(5); 5])), [""; 0]);
    assert_eq!(told(&ledger(0, &[Some(0); 5])), [""; 0]);
}

#[test]
fn the_gap_lies_between_the_last_that_saw_and_the_first_that_did_not() {
    assert_eq!(told(&ledger(3, &[Some(3), Some(3), Some(3), Some(0), Some(0)])), ["3: 2 > 3 []"]);
    assert_eq!(told(&ledger(1, &[Some(1), Some(1), Some(0), Some(0), Some(0)])), ["1: 1 > 2 []"]);
    assert_eq!(told(&ledger(2, &[Some(2), Some(0), Some(0), Some(0), Some(0)])), ["2: 0 > 1 []"]);
}

#[test]
fn losses_at_several_places_are_told_apart() {
    let lossy = ledger(10, &[Some(10), Some(10), Some(9), Some(4), Some(4)]);
    assert_eq!(told(&lossy), ["1: 1 > 2 []", "5: 2 > 3 []"]);
}

#[test]
fn a_gap_across_something_blind_names_it() {
    assert_eq!(told(&ledger(1, &[Some(1), Some(1), None, None, Some(0)])), ["1: 1 > 4 [2, 3]"]);
}

#[test]
fn a_way_that_ends_blind_accuses_nobody() {
    assert_eq!(told(&ledger(1, &[Some(1), Some(1), None, None, None])), [""; 0]);
}

#[test]
fn what_arrives_was_not_lost_on_the_way_whatever_a_checkpoint_between_counted() {
    assert_eq!(told(&ledger(5, &[Some(5), Some(5), Some(3), Some(0), Some(5)])), [""; 0]);
}

#[test]
fn one_probe_that_is_lost_is_not_made_up_for_by_another() {
    let sets = [vec![0, 1], vec![0, 1], vec![0]].map(|seen| Some(seen.into_iter().collect()));
    assert_eq!(told(&of_sets(2, sets)), ["1: 1 > 2 []"]);
}

/// Returns what five checkpoints saw of four probes, some of them nothing as they were blind; the first, the call,
/// saw all.
fn any_sights() -> impl Strategy<Value = Vec<Option<BTreeSet<u16>>>> {
    let seen = prop::option::weighted(0.7, prop::collection::btree_set(0u16..4, 0..5));
    prop::collection::vec(seen, 4).prop_map(|rest| {
        let mut all = vec![Some((0..4).collect())];
        all.extend(rest);
        all
    })
}

proptest! {
    #[test]
    fn no_gap_where_everything_that_was_sent_arrives(
        sent in 0u16..9, between in prop::collection::vec(prop::option::of(0u16..9), 3),
    ) {
        let mut counts = vec![Some(sent)];
        counts.extend(between.into_iter().map(|count| count.map(|count| count.min(sent))));
        counts.push(Some(sent));
        prop_assert_eq!(told(&ledger(sent, &counts)), [""; 0]);
    }

    #[test]
    fn one_break_is_found_between_its_watched_neighbours(
        sent in 1u16..9, broken in 1usize..5, blind in prop::collection::vec(any::<bool>(), 4),
    ) {
        let watched = |index: usize| index == 0 || !blind[index - 1];
        let counts: Vec<_> = (0..5).map(|index| watched(index).then_some(if index < broken { sent } else { 0 })).collect();
        let before = (0..broken).rev().find(|index| watched(*index)).expect("the call is never blind");
        let after = (broken..5).find(|index| watched(*index));
        let ledger = ledger(sent, &counts);
        let stretches = ledger.stretches();
        match after {
            Some(after) => {
                prop_assert_eq!(stretches.len(), 1);
                prop_assert_eq!((stretches[0].last, stretches[0].first), (before, after));
                prop_assert_eq!(stretches[0].probes.len(), usize::from(sent));
                prop_assert_eq!(ledger.blind_between(&stretches[0]).count(), after - before - 1);
            }
            None => prop_assert_eq!(stretches, []),
        }
    }

    #[test]
    fn every_gap_joins_a_checkpoint_that_saw_its_probes_to_one_that_did_not(sights in any_sights()) {
        let ledger = of_sets(4, sights.clone());
        for stretch in ledger.stretches() {
            prop_assert!(stretch.last < stretch.first && !stretch.probes.is_empty());
            let (before, after) = (sights[stretch.last].clone(), sights[stretch.first].clone());
            prop_assert!(stretch.probes.is_subset(&before.expect("not blind")));
            prop_assert!(stretch.probes.is_disjoint(&after.expect("not blind")));
            prop_assert!(sights[stretch.last + 1..stretch.first].iter().all(Option::is_none));
        }
    }

    #[test]
    fn the_gaps_add_up_to_what_did_not_come_to_the_last_that_watched(sights in any_sights()) {
        let last = sights.iter().flatten().last().expect("the call is never blind").len();
        let lost: usize = of_sets(4, sights).stretches().iter().map(|stretch| stretch.probes.len()).sum();
        prop_assert_eq!(lost, 4 - last);
    }

    #[test]
    fn going_blind_never_adds_probes_to_what_is_lost(
        counts in prop::collection::vec(0u16..6, 4), open in prop::collection::vec(any::<bool>(), 4),
    ) {
        let lost = |counts: &[Option<u16>]| {
            ledger(5, counts).stretches().iter().map(|stretch| stretch.probes.len()).sum::<usize>()
        };
        // Without duplicates no checkpoint counts more than the one before it.
        let falling = (1..=counts.len()).map(|end| *counts[..end].iter().min().expect("one"));
        let bright: Vec<_> = std::iter::once(Some(5)).chain(falling.map(Some)).collect();
        let eyes = std::iter::once(true).chain(open);
        let dim: Vec<_> = bright.iter().zip(eyes).map(|(count, open)| count.filter(|_| open)).collect();
        prop_assert!(lost(&dim) <= lost(&bright));
    }
}
