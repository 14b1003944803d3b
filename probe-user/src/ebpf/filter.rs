//! The rules as the kernel holds them, written so that no packet ever meets a half-written rule.

use std::sync::atomic::Ordering;

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, PerCpuArray, PerCpuValues},
};
use probe_ebpf::{Count, Rule, RuleIndex, RuleState, RuleStats, filter::MAX_RULES, names, tally::IDS};

use super::{KernelError, border::Plain, load::processors, memory::Mapped};
use crate::{
    clock::monotonic_ns,
    filter::rules::{self, RuleSet},
};

/// The rules of one filter, and what each of them did.
pub struct Rules {
    index: Mapped,
    rules: Array<MapData, Plain<Rule>>,
    stats: PerCpuArray<MapData, Plain<RuleStats>>,
    states: Array<MapData, Plain<RuleState>>,
}

impl Rules {
    /// Takes the maps of the filter out of `programs`.
    pub fn take(programs: &mut Ebpf) -> Result<Self, KernelError> {
        Self::of(|name| programs.take_map(name).ok_or(KernelError::NoMap { name }))
    }

    /// Opens the rules in the maps that `map` returns by name.
    pub(super) fn of(mut map: impl FnMut(&'static str) -> Result<Map, KernelError>) -> Result<Self, KernelError> {
        let Map::Array(index) = map(names::RULE_INDEX)? else {
            return Err(KernelError::NoMap { name: names::RULE_INDEX });
        };
        let bytes = const {
            std::num::NonZeroUsize::new(IDS as usize * size_of::<RuleIndex>())
                .expect("there are ids, and their entries have a size")
        };
        let memory = |source| KernelError::Memory { name: names::RULE_INDEX, source };
        Ok(Self {
            index: Mapped::new(index.fd(), bytes).map_err(memory)?,
            rules: map(names::RULES)?.try_into().map_err(|source| KernelError::of_map(names::RULES, source))?,
            stats: map(names::RULE_STATS)?
                .try_into()
                .map_err(|source| KernelError::of_map(names::RULE_STATS, source))?,
            states: map(names::RULE_STATES)?
                .try_into()
                .map_err(|source| KernelError::of_map(names::RULE_STATES, source))?,
        })
    }

    /// Returns every rule by slot; the rule of an unused slot has the number 0.
    pub fn read(&self) -> Result<Vec<Rule>, KernelError> {
        let slots = 0..MAX_RULES as u32;
        slots.map(|slot| self.rules.get(&slot, 0).map(|rule| rule.0)).collect::<Result<_, _>>().map_err(of_rules)
    }

    /// Returns what the rule in `slot` matched and did, summed over all processors.
    pub fn stats(&self, slot: u32) -> Result<RuleStats, KernelError> {
        let stats = self.stats.get(&slot, 0).map_err(|source| KernelError::of_map(names::RULE_STATS, source))?;
        Ok(stats.iter().fold(RuleStats::default(), |sum, one| RuleStats {
            chosen: Count {
                packets: sum.chosen.packets + one.0.chosen.packets,
                bytes: sum.chosen.bytes + one.0.chosen.bytes,
            },
            passed: sum.passed + one.0.passed,
            last_ns: sum.last_ns.max(one.0.last_ns),
            last_tick: sum.last_tick.max(one.0.last_tick),
        }))
    }

    /// Writes all of `set` before any program reads it.
    pub fn fill(&mut self, set: &RuleSet) -> Result<(), KernelError> {
        for (slot, rule) in set.in_order() {
            self.rules.set(slot, Plain(*rule), 0).map_err(of_rules)?;
        }
        self.publish(set.slots());
        Ok(())
    }

    /// Moves the deadline of the rule in `slot`, which now holds `rule`.
    pub(super) fn move_deadline(&mut self, slot: u32, rule: &Rule, deadline_ns: u64) -> Result<(), KernelError> {
        self.rules.set(slot, Plain(Rule { deadline_ns, ..*rule }), 0).map_err(of_rules)
    }

    /// Clears the statistics of `slot`: another rule counts there from now on.
    pub(super) fn forget(&mut self, slot: u32) -> Result<(), KernelError> {
        let blank = vec![Plain(RuleStats::default()); processors()? as usize];
        let blank =
            PerCpuValues::try_from(blank).map_err(|source| KernelError::ReadMap { name: names::RULE_STATS, source })?;
        self.stats.set(slot, blank, 0).map_err(|source| KernelError::of_map(names::RULE_STATS, source))?;
        let state = self.states.set(slot, Plain(RuleState::default()), 0);
        state.map_err(|source| KernelError::of_map(names::RULE_STATES, source))
    }

    /// Puts `rule` into a free slot, in force from now on, and returns the slot. The rule must need nothing that the
    /// running programs were not loaded for. If no slot is free, a rule that has expired makes room.
    ///
    /// # Errors
    /// [`KernelError::RulesFull`] if all rules are still in force.
    pub fn add(&mut self, rule: &Rule) -> Result<u32, KernelError> {
        let mut all = self.read()?;
        let now = monotonic_ns();
        let free =
            all.iter().position(|rule| rule.number == 0).or_else(|| all.iter().position(|r| rules::has_ended(r, now)));
        let free = free.ok_or(KernelError::RulesFull)?;
        let slot = free as u32;
        if all[free].number > 0 {
            // No id may find the slot while its content changes.
            all[free] = Rule::default();
            self.publish(&all);
        }
        self.forget(slot)?;
        self.rules.set(slot, Plain(*rule), 0).map_err(of_rules)?;
        all[free] = *rule;
        self.publish(&all);
        Ok(slot)
    }

    /// Ends the rules in `slots`: first no packet finds them any more, then the slots are freed.
    pub fn remove(&mut self, slots: &[u32]) -> Result<(), KernelError> {
        let mut all = self.read()?;
        for slot in slots {
            if let Some(rule) = all.get_mut(*slot as usize) {
                *rule = Rule::default();
            }
        }
        self.publish(&all);
        for slot in slots {
            self.rules.set(*slot, Plain(Rule::default()), 0).map_err(of_rules)?;
        }
        Ok(())
    }

    /// Makes the index match `rules`. Each entry changes in one step, so no packet passes unfiltered meanwhile.
    fn publish(&self, rules: &[Rule]) {
        for (first, word) in rules::first_by_id(rules).iter().zip(self.index.words()) {
            let wanted: u64 = bytemuck::cast(first.slots);
            if word.load(Ordering::Relaxed) != wanted {
                word.store(wanted, Ordering::Release);
            }
        }
    }
}

fn of_rules(source: aya::maps::MapError) -> KernelError {
    KernelError::of_map(names::RULES, source)
}
