//! The rules of one filter together: slots, order, and numbers that are never reused.

use probe_ebpf::{Rule, filter::MAX_RULES};

use super::{Needs, has_ended, in_order};

/// The rules of one filter. A rule keeps its slot for life, because its statistics are kept there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSet {
    slots: Vec<Rule>,
    /// The highest number that a rule ever had.
    pub last_number: u32,
}

impl Default for RuleSet {
    fn default() -> Self {
        Self::new(Vec::new(), 0)
    }
}

/// Where to insert a new rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulePosition {
    /// After all others.
    Last,
    /// Before the rule with this number.
    Before(u32),
}

/// Why a rule cannot be put into a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleSetError {
    /// Every slot is in use.
    Full,
    /// There is no rule with that number.
    NoSuchRule(u32),
}

impl RuleSet {
    /// Builds the set from the rules by slot, as the kernel has them; the rule of an unused slot has the number 0.
    pub fn new(mut slots: Vec<Rule>, last_number: u32) -> Self {
        slots.resize(MAX_RULES, Rule::default());
        let highest = slots.iter().map(|rule| rule.number).max().unwrap_or(0);
        Self { slots, last_number: last_number.max(highest) }
    }

    /// Returns the rules by slot.
    pub fn slots(&self) -> &[Rule] {
        &self.slots
    }

    /// Returns the rules in the order in which they are tried, each with its slot.
    pub fn in_order(&self) -> Vec<(u32, &Rule)> {
        in_order(&self.slots)
    }

    /// Reports whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(|rule| rule.number == 0)
    }

    /// Returns the slot and the rule with this number.
    pub fn find(&self, number: u32) -> Option<(u32, &Rule)> {
        (0..).zip(&self.slots).find(|(_, rule)| rule.number == number && number > 0)
    }

    /// Inserts `rule` at `spot` with the next number; returns its slot. If all slots are in use, rules that have expired at
    /// `now` are removed.
    ///
    /// # Errors
    /// [`RuleSetError`]; then nothing has changed.
    pub fn insert(&mut self, rule: Rule, spot: RulePosition, now: u64) -> Result<u32, RuleSetError> {
        let mut order: Vec<u32> = self.in_order().into_iter().map(|(slot, _)| slot).collect();
        let at = match spot {
            RulePosition::Last => order.len(),
            RulePosition::Before(number) => {
                let (wanted, _) = self.find(number).ok_or(RuleSetError::NoSuchRule(number))?;
                order.iter().position(|slot| *slot == wanted).ok_or(RuleSetError::NoSuchRule(number))?
            }
        };
        let free = self.slots.iter().position(|rule| rule.number == 0);
        let free =
            free.or_else(|| self.slots.iter().position(|rule| has_ended(rule, now))).ok_or(RuleSetError::Full)?;
        let slot = u32::try_from(free).expect("slots are few");
        order.insert(at, slot);
        // A new rule takes the position of the expired one that it replaces.
        let mut position = 0;
        order.retain(|other| {
            position += 1;
            *other != slot || position == at + 1
        });
        self.last_number += 1;
        self.slots[free] = Rule { number: self.last_number, ..rule };
        self.arrange(&order);
        Ok(slot)
    }

    /// Removes the rules in `slots`.
    pub fn remove(&mut self, slots: &[u32]) {
        for slot in slots {
            if let Some(rule) = self.slots.get_mut(*slot as usize) {
                *rule = Rule::default();
            }
        }
        let order: Vec<u32> = self.in_order().into_iter().map(|(slot, _)| slot).collect();
        self.arrange(&order);
    }

    /// Removes the rules that have expired at `now`; returns them.
    pub fn remove_ended(&mut self, now: u64) -> Vec<Rule> {
        let ended: Vec<u32> =
            self.in_order().into_iter().filter(|(_, rule)| has_ended(rule, now)).map(|(slot, _)| slot).collect();
        let rules = ended.iter().map(|slot| self.slots[*slot as usize]).collect();
        self.remove(&ended);
        rules
    }

    /// Returns what the kernel programs must support for these rules.
    pub fn needs(&self) -> Needs {
        Needs::of(&self.in_order())
    }

    /// Sets each rule's position and successor.
    fn arrange(&mut self, order: &[u32]) {
        for (index, slot) in order.iter().enumerate() {
            let rule = &mut self.slots[*slot as usize];
            rule.place = u32::try_from(index + 1).expect("rules are few");
            rule.next = order.get(index + 1).map_or(0, |next| next + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(id: u16) -> Rule {
        Rule { id_first: id, id_last: id, kinds: 0b1111, ..Rule::default() }
    }

    fn numbers(set: &RuleSet) -> Vec<u32> {
        set.in_order().into_iter().map(|(_, rule)| rule.number).collect()
    }

    #[test]
    fn a_rule_goes_last_or_before_another() {
        let mut set = RuleSet::default();
        set.insert(rule(1), RulePosition::Last, 0).expect("room");
        set.insert(rule(2), RulePosition::Last, 0).expect("room");
        set.insert(rule(3), RulePosition::Before(1), 0).expect("room");
        assert_eq!(numbers(&set), [3, 1, 2]);
        assert_eq!(set.insert(rule(4), RulePosition::Before(9), 0), Err(RuleSetError::NoSuchRule(9)));
        let slot = set.find(1).expect("it is there").0;
        set.remove(&[slot]);
        assert_eq!(numbers(&set), [3, 2]);
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let mut set = RuleSet::default();
        let slot = set.insert(rule(1), RulePosition::Last, 0).expect("room");
        set.remove(&[slot]);
        set.insert(rule(1), RulePosition::Last, 0).expect("room");
        assert_eq!(numbers(&set), [2]);
        assert_eq!(RuleSet::new(set.slots().to_vec(), 7).last_number, 7);
    }

    #[test]
    fn a_rule_that_has_ended_makes_room_where_there_is_no_other() {
        let mut set = RuleSet::default();
        for id in 0..256 {
            let deadline_ns = if id == 100 { 50 } else { 0 };
            set.insert(Rule { deadline_ns, ..rule(id) }, RulePosition::Last, 0).expect("room");
        }
        let full = set.clone();
        assert_eq!(set.insert(rule(1), RulePosition::Last, 49), Err(RuleSetError::Full));
        assert_eq!(set, full);
        let mut before = full.clone();
        assert_eq!(set.insert(rule(1), RulePosition::Last, 50), Ok(100));
        assert_eq!((numbers(&set).len(), numbers(&set).last()), (256, Some(&257)));
        assert_eq!(
            before.insert(rule(1), RulePosition::Before(101), 50),
            Ok(100),
            "in the place of the very one that ended"
        );
        assert_eq!(numbers(&before)[100], 257);
    }

    proptest! {
        #[test]
        fn places_and_successors_follow_the_order(
            steps in prop::collection::vec((any::<bool>(), 0..12_u32), 0..60),
        ) {
            let mut set = RuleSet::default();
            let mut expected: Vec<u32> = Vec::new();
            for (adds, pick) in steps {
                let at = pick as usize % (expected.len() + 1);
                if adds {
                    let spot = expected.get(at).map_or(RulePosition::Last, |number| RulePosition::Before(*number));
                    set.insert(rule(7), spot, 0).expect("room");
                    expected.insert(at, set.last_number);
                } else if at < expected.len() {
                    let slot = set.find(expected.remove(at)).expect("it is there").0;
                    set.remove(&[slot]);
                }
                prop_assert_eq!(&numbers(&set), &expected);
            }
            let order = set.in_order();
            for (index, (_, rule)) in order.iter().enumerate() {
                prop_assert_eq!(rule.place as usize, index + 1);
                prop_assert_eq!(rule.next, order.get(index + 1).map_or(0, |(slot, _)| slot + 1));
            }
        }
    }
}
