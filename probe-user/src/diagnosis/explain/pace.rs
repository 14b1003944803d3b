//! Loss caused by our own pace, as a rule limits how many pass in a given time; and loss that a rule causes on purpose.

use super::{StopCase, StopExplanation};
use crate::diagnosis::{control::ControlKind, document::Layer, places::DropPoint};

/// How unlikely it has to be that packets at ping's pace all passed by chance.
const CHANCE: f64 = 0.05;

/// What limits the packets of a rule to some number in a given time, as nftables and iptables write it.
const LIMITS: [&str; 5] = ["limit", "ct count", "meter", "recent", "update @"];

/// What makes a rule match a share of all packets.
const SHARES: [&str; 3] = ["numgen", "statistic", "meta random"];

/// What makes a rule count the packets of one connection, or look at their numbers, whatever their pace.
const COUNTED: [&str; 9] = [
    "ct packets",
    "ct original packets",
    "ct reply packets",
    "ct bytes",
    "ct original bytes",
    "ct reply bytes",
    "connbytes",
    "icmp sequence",
    "icmpv6 sequence",
];

/// Explains a stop of some probes: packets at ping's pace all passed, or the rule says that it takes a share.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    (case.stop.packets < case.evidence.sent()).then_some(())?;
    let rule = case.stop.cause.detail.as_deref();
    let limits = case.stop.layer == Layer::Netfilter || case.stop.place == DropPoint::RateLimit;
    limits.then_some(())?;
    let says = |words: &[&str]| rule.is_some_and(|rule| words.iter().any(|word| rule.contains(word)));
    if says(&SHARES) {
        return Some(share(rule));
    }
    if says(&COUNTED) && !says(&LIMITS) {
        return Some(counted(rule));
    }
    let control = case.evidence.controls.iter().find(|control| matches!(control.kind, ControlKind::Pace { .. }))?;
    (control.passed() && (says(&LIMITS) || !by_chance(case, control.sent))).then_some(())?;
    let limit = "a limit: at one a second, as ping sends them, they pass".to_owned();
    Some(StopExplanation {
        detail: Some(rule.map_or_else(|| limit.clone(), |rule| format!("{limit}; {rule}"))),
        meaning:
            "Only so many packets may pass in a given time, and the probes came faster than that. A ping at its usual \
                  pace is healthy; run with -i 1.1 -c 4 to see it."
                .to_owned(),
        commands: Vec::new(),
        ..StopExplanation::default()
    })
}

/// Explains a rule that takes the packets of a connection from some number on, or up to it.
fn counted(rule: Option<&str>) -> StopExplanation {
    StopExplanation {
        detail: rule.map(|rule| format!("by their count, at any pace; {rule}")),
        meaning: "The rule counts the packets of one connection, which is one echo id, or looks at their sequence numbers: a new \
                  ping begins anew, and meets it again."
            .to_owned(),
        commands: Vec::new(),
        ..StopExplanation::default()
    }
}

/// Explains a rule that drops a share of the packets, at any pace.
fn share(rule: Option<&str>) -> StopExplanation {
    StopExplanation {
        detail: rule.map(|rule| format!("a share of them, on purpose; {rule}")),
        meaning: "The rule matches every nth packet, or packets at random: the same share is lost at any pace."
            .to_owned(),
        commands: Vec::new(),
        ..StopExplanation::default()
    }
}

/// Returns whether that many packets may well have passed without a limit: it takes no luck if few are lost, unless
/// those that passed are the very first, as with a limit that lets a burst through.
fn by_chance(case: &StopCase<'_>, sent: usize) -> bool {
    let all = case.evidence.sent();
    let lost = case.gap.probes.len().min(all);
    let passed = all - lost;
    let share = passed as f64 / all.max(1) as f64;
    let by_luck = share.powi(i32::try_from(sent).unwrap_or(i32::MAX));
    let first_lost = case.gap.probes.first().copied().map_or(0, usize::from);
    // Of all ways in which as many of them can be lost, only one has the lost ones last.
    let orders = (0..lost).fold(1.0, |ways, taken| ways * (all - taken) as f64 / (taken + 1) as f64);
    let in_order = first_lost >= passed;
    by_luck > CHANCE && !(in_order && 1.0 / orders < CHANCE)
}
