//! Probe's own pinned filters on an interface, and which of their rules dropped packets of a run.

use crate::ebpf;
use std::collections::BTreeMap;

use probe_ebpf::{Direction, Kind, Rule, filter::DRY_RUN, guard::PROTECT_OUT};

use crate::host::or_log;
use crate::{
    ebpf::{guard::pins::PinnedGuard, pins::Pinned},
    filter::rules,
    host::device::Device,
    model::{
        attach::FilterSite,
        trace::{Finding, ProgramSite},
    },
};

/// What probe's own filters had dropped of some ids.
pub struct OwnFilters {
    before: BTreeMap<ProgramSite, Dropped>,
    by_guard: u64,
}

/// What one filter dropped.
#[derive(Clone, Debug, Default)]
struct Dropped {
    /// Of the ids of the run.
    packets: u64,
    /// By the number of the rule, of any id.
    by_rule: BTreeMap<u32, u64>,
}

impl OwnFilters {
    /// Reads what the filters have dropped by now; nothing if there is none.
    pub fn read(interface: Option<&str>, ids: &[u16]) -> Self {
        Self {
            before: interface.map(|interface| dropped(interface, ids)).unwrap_or_default(),
            by_guard: interface.and_then(|interface| guarded(interface, ids)).map_or(0, |(dropped, _)| dropped),
        }
    }

    /// Returns the filters that there are, with what they dropped since and the rules that did.
    pub fn findings(&self, interface: Option<&str>, ids: &[u16]) -> Vec<Finding> {
        let Some(interface) = interface else { return Vec::new() };
        let now = dropped(interface, ids).into_iter();
        now.map(|(at, now)| {
            let before = self.before.get(&at).cloned().unwrap_or_default();
            let risen = now.by_rule.iter().filter(|(number, count)| before.by_rule.get(number) != Some(*count));
            let numbers: Vec<String> =
                risen.filter(|(_, count)| **count > 0).map(|(number, _)| number.to_string()).collect();
            Finding::Program {
                at,
                who: format!("probe's own filter on {interface}{}", named(&numbers)),
                probe_filter: true,
                // A filter that was recreated meanwhile counts from zero.
                dropped: now.packets.checked_sub(before.packets).unwrap_or(now.packets),
            }
        })
        .chain(self.guards(interface, ids))
        .collect()
    }

    /// Returns the guard that there is, with what it dropped since.
    fn guards(&self, interface: &str, ids: &[u16]) -> Option<Finding> {
        let (now, at) = guarded(interface, ids)?;
        Some(Finding::Program {
            at,
            who: format!("probe's own guard on {interface}"),
            probe_filter: true,
            // One that was recreated meanwhile counts from zero.
            dropped: now.checked_sub(self.by_guard).unwrap_or(now),
        })
    }
}

/// Returns ` (rule 3)`, if rules are known.
fn named(numbers: &[String]) -> String {
    match numbers {
        [] => String::new(),
        [one] => format!(" (rule {one})"),
        more => format!(" (rules {})", more.join(", ")),
    }
}

/// Returns what the pinned filters of `interface` have dropped of these ids, by the hop at which they sit.
fn dropped(interface: &str, ids: &[u16]) -> BTreeMap<ProgramSite, Dropped> {
    let filters =
        or_log("interface", Device::find(interface)).and_then(|device| or_log("pinned filters", Pinned::on(&device)));
    let read = |pinned: &Pinned| Some((hop(pinned), or_log("pinned filter", of(pinned, ids))?));
    filters.unwrap_or_default().iter().filter_map(read).collect()
}

/// Returns what the pinned guard of `interface` has dropped of these ids, and where it does that; `None` if there is
/// none, or if it only counts. One that judges both directions is reported where it judges what enters.
fn guarded(interface: &str, ids: &[u16]) -> Option<(u64, ProgramSite)> {
    let device = or_log("interface", Device::find(interface))?;
    let pinned = or_log("pinned guard", PinnedGuard::open(&device))??;
    let config = &pinned.record.config;
    let at = match (config.protect, pinned.record.ingress) {
        (PROTECT_OUT, _) => ProgramSite::TcOut,
        (_, 0) => ProgramSite::TcIn,
        _ => ProgramSite::Xdp,
    };
    (config.dry_run == 0).then(|| (ids.iter().map(|id| pinned.maps.dropped(*id)).sum(), at))
}

fn hop(pinned: &Pinned) -> ProgramSite {
    match (pinned.direction, pinned.site()) {
        (Direction::Out, _) => ProgramSite::TcOut,
        (Direction::In, FilterSite::Xdp) => ProgramSite::Xdp,
        (Direction::In, _) => ProgramSite::TcIn,
    }
}

fn of(pinned: &Pinned, ids: &[u16]) -> Result<Dropped, ebpf::KernelError> {
    let tally = pinned.dropped()?;
    let packets = ids.iter().flat_map(|id| Kind::ALL.map(|kind| tally.count(kind, *id).packets)).sum();
    let set = pinned.set()?;
    let meant = |rule: &Rule| rule.asks & DRY_RUN == 0 && ids.iter().any(|id| rules::ids(rule).contains(*id));
    let mut by_rule = BTreeMap::new();
    for (slot, rule) in set.in_order().into_iter().filter(|(_, rule)| meant(rule)) {
        by_rule.insert(rule.number, pinned.rules.stats(slot)?.chosen.packets);
    }
    Ok(Dropped { packets, by_rule })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_named_by_their_numbers() {
        let named = |numbers: &[&str]| named(&numbers.iter().map(|number| (*number).to_owned()).collect::<Vec<_>>());
        assert_eq!([named(&[]), named(&["3"]), named(&["3", "4"])], ["", " (rule 3)", " (rules 3, 4)"]);
    }
}
