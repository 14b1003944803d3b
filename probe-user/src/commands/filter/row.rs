//! A rule as it is listed.

use crate::ebpf;
use probe_ebpf::{
    Rule,
    filter::{ASKS_DESTINATION, ASKS_INNER, ASKS_PAYLOAD, ASKS_SEQ, ASKS_SOURCE, DRY_RUN, HELD},
};

use crate::{
    clock::monotonic_ns,
    ebpf::{foreign, pins::Pinned},
    filter::rules::{self, Kinds, RuleAction},
    host::device::Device,
    model::{
        attach::{FilterEffect, FilterSite},
        prefix::Prefix,
    },
    report::filters::{FilterRow, MatchReport, Range, SelectionReport},
};

/// Returns the rules of `pinned`, which is on `device`, in the order in which they are tried.
pub(super) fn rows(device: &Device, pinned: &Pinned) -> Result<Vec<FilterRow>, ebpf::KernelError> {
    let set = pinned.set()?;
    let positions = 1..;
    positions.zip(set.in_order()).map(|(position, (slot, rule))| row(device, pinned, position, slot, rule)).collect()
}

fn row(
    device: &Device,
    pinned: &Pinned,
    position: u32,
    slot: u32,
    rule: &Rule,
) -> Result<FilterRow, ebpf::KernelError> {
    let now = monotonic_ns();
    let stats = pinned.rules.stats(slot)?;
    let action = RuleAction::of(rule);
    let dry_run = rule.asks & DRY_RUN != 0;
    Ok(FilterRow {
        number: rule.number,
        interface: device.name.clone(),
        direction: pinned.direction,
        position,
        hook: pinned.site(),
        xdp_mode: match pinned.site() {
            FilterSite::Xdp => foreign::xdp_mode_of(device).unwrap_or("unknown"),
            _ => "off",
        },
        matches: matches(rule),
        action: match action {
            RuleAction::Pass => FilterEffect::Pass,
            _ if dry_run => FilterEffect::Count,
            _ => FilterEffect::Drop,
        },
        which: SelectionReport::of(action),
        hits: stats.chosen.packets + stats.passed,
        would_drop: stats.chosen.packets,
        dropped: if dry_run { 0 } else { stats.chosen.packets },
        dropped_bytes: if dry_run { 0 } else { stats.chosen.bytes },
        last_hit_s_ago: (stats.last_ns != 0).then(|| now.saturating_sub(stats.last_ns) / 1_000_000_000),
        expires_in_s: (rule.deadline_ns != 0).then(|| rule.deadline_ns.saturating_sub(now).div_ceil(1_000_000_000)),
        until_exit: rule.asks & HELD != 0,
        added_by_uid: rule.added_by_uid,
        added_unix_s: rule.added_unix_s,
    })
}

fn matches(rule: &Rule) -> MatchReport {
    let ids = rules::ids(rule);
    let kinds = Kinds::of(rule);
    let asks = |bit: u32| rule.asks & bit != 0;
    MatchReport {
        types: kinds.types(),
        id_first: ids.first,
        id_last: ids.last,
        family: kinds.family().map(|family| if family == probe_ebpf::Family::V4 { 4 } else { 6 }),
        seq: asks(ASKS_SEQ).then_some(Range { first: rule.seq_first, last: rule.seq_last }),
        payload_bytes: asks(ASKS_PAYLOAD).then_some(Range { first: rule.payload_first, last: rule.payload_last }),
        source: asks(ASKS_SOURCE).then(|| Prefix::of(&rule.source).to_string()),
        destination: asks(ASKS_DESTINATION).then(|| Prefix::of(&rule.destination).to_string()),
        inner: asks(ASKS_INNER),
    }
}
