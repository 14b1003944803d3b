//! The rules of the filter as plain data: which rule matches what, and which comes first for each id.

pub mod action;
mod needs;
mod set;

use probe_ebpf::{Echo, Family, Kind, Rule, RuleIndex, filter::MAX_RULES, tally::IDS};

pub use action::RuleAction;
pub use needs::Needs;
pub use set::{RulePosition, RuleSet, RuleSetError};

use crate::model::ids::IdRange;

/// The kinds that a rule matches, as bits by [`Kind::index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// Collects those of [`Kind::ALL`] for which `matches` holds.
    pub fn matching(matches: impl Fn(Kind) -> bool) -> Self {
        Self(Kind::ALL.iter().filter(|kind| matches(**kind)).fold(0, |bits, kind| bits | 1 << kind.index()))
    }

    /// Returns the bits as [`Rule::kinds`] holds them.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Returns the kinds of `rule`.
    pub fn of(rule: &Rule) -> Self {
        Self(rule.kinds)
    }

    /// Reports whether `kind` is one of them.
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind.index()) != 0
    }

    /// Names the types that are matched: request, reply, or both.
    pub fn types(self) -> &'static str {
        match (self.any(|kind| kind.echo == Echo::Request), self.any(|kind| kind.echo == Echo::Reply)) {
            (true, false) => "request",
            (false, true) => "reply",
            _ => "both",
        }
    }

    /// Returns the IP version that is matched; `None` if both are.
    pub fn family(self) -> Option<Family> {
        match (self.any(|kind| kind.family == Family::V4), self.any(|kind| kind.family == Family::V6)) {
            (true, false) => Some(Family::V4),
            (false, true) => Some(Family::V6),
            _ => None,
        }
    }

    fn any(self, matches: impl Fn(Kind) -> bool) -> bool {
        Kind::ALL.iter().any(|kind| self.contains(*kind) && matches(*kind))
    }
}

/// Returns the ids of `rule`.
pub fn ids(rule: &Rule) -> IdRange {
    IdRange { first: rule.id_first, last: rule.id_last }
}

/// Reports whether `rule` has expired at `now`, both by `CLOCK_MONOTONIC`.
pub fn has_ended(rule: &Rule, now: u64) -> bool {
    rule.number > 0 && rule.deadline_ns != 0 && rule.deadline_ns <= now
}

/// Reports whether some packet has a kind and an id that both rules match.
pub fn overlap(a: &Rule, b: &Rule) -> bool {
    a.kinds & b.kinds != 0 && a.id_first <= b.id_last && b.id_first <= a.id_last
}

/// Returns the rules in the order in which they are tried, each with its slot. A slot whose rule has the number 0 is unused.
pub fn in_order(slots: &[Rule]) -> Vec<(u32, &Rule)> {
    let mut used: Vec<(u32, &Rule)> =
        (0..).zip(slots.iter().take(MAX_RULES)).filter(|(_, rule)| rule.number > 0).collect();
    used.sort_by_key(|(_, rule)| (rule.place, rule.number));
    used
}

/// Returns which rule comes first for each id, from the rules by slot.
pub fn first_by_id(slots: &[Rule]) -> Vec<RuleIndex> {
    let mut index = vec![RuleIndex::default(); IDS as usize];
    for (slot, rule) in in_order(slots) {
        let kinds = Kinds::of(rule);
        let slot_plus_one = u16::try_from(slot + 1).expect("slots are fewer than ids");
        for id in rule.id_first..=rule.id_last {
            let entry = &mut index[usize::from(id)];
            for kind in Kind::ALL {
                let first = &mut entry.slots[kind.index()];
                if kinds.contains(kind) && *first == 0 {
                    *first = slot_plus_one;
                }
            }
        }
    }
    index
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(number: u32, first: u16, last: u16, kinds: u32) -> Rule {
        Rule { number, id_first: first, id_last: last, kinds, ..Rule::default() }
    }

    #[test]
    fn the_lowest_number_holds_where_rules_overlap() {
        let index = first_by_id(&[rule(2, 0, 65535, 0b1111), rule(1, 7, 7, 0b0001)]);
        assert_eq!(index[7].slots, [2, 1, 1, 1]);
        assert_eq!(index[8].slots, [1, 1, 1, 1]);
    }

    #[test]
    fn an_earlier_place_counts_before_a_lower_number() {
        let index =
            first_by_id(&[Rule { place: 2, ..rule(1, 7, 7, 0b1111) }, Rule { place: 1, ..rule(2, 7, 7, 0b0001) }]);
        assert_eq!(index[7].slots, [2, 1, 1, 1]);
    }

    #[test]
    fn a_slot_that_is_not_in_use_matches_nothing() {
        assert!(
            first_by_id(&[Rule { kinds: 0b1111, ..Rule::default() }])
                .iter()
                .all(|entry| *entry == RuleIndex::default())
        );
    }

    #[test]
    fn kinds_say_what_they_match() {
        let v4_requests = Kinds::matching(|kind| kind.family == Family::V4 && kind.echo == Echo::Request);
        assert_eq!((v4_requests.types(), v4_requests.family()), ("request", Some(Family::V4)));
        let all = Kinds::matching(|_| true);
        assert_eq!((all.types(), all.family(), all.bits()), ("both", None, 0b1111));
    }

    proptest! {
        #[test]
        fn the_index_says_what_asking_each_rule_in_turn_says(
            specs in prop::collection::vec((any::<u16>(), any::<u16>(), 0..16_u32), 0..20),
            id in any::<u16>(),
        ) {
            let rules: Vec<Rule> =
                (1..).zip(&specs).map(|(n, (a, b, kinds))| rule(n, *a.min(b), *a.max(b), *kinds)).collect();
            let index = first_by_id(&rules);
            for kind in Kind::ALL {
                let first = rules.iter().position(|rule| ids(rule).contains(id) && Kinds::of(rule).contains(kind));
                let expected = first.map_or(0, |slot| slot + 1);
                prop_assert_eq!(usize::from(index[usize::from(id)].slots[kind.index()]), expected);
            }
        }
    }
}
