//! What connection tracking does with a run's echoes at each place, compared with what the rules there would do now.

mod matching;

use std::net::IpAddr;

use probe_ebpf::{Echo, Hop};

use self::matching::{Crossed, matches, names};
use super::{Evidence, path::Side, tracked::TrackedPlace};
use crate::model::trace::{Finding, TrackedEcho, TrackingAct, TrackingFacts, TrackingRule};

/// An entry that does to packets what no rule does any more, or does not do what a rule would do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoundEcho<'a> {
    /// Where.
    pub(super) side: Side,
    /// The entry.
    pub(super) entry: &'a TrackedEcho,
    /// What it keeps them to.
    pub(super) to: KeptTo<'a>,
}

/// What an entry keeps packets to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeptTo<'a> {
    /// A destination to which no rule translates any more; `now`: the one to which a rule does.
    Destination {
        /// The old one.
        old: IpAddr,
        /// The new one.
        now: Option<IpAddr>,
    },
    /// A source which no rule gives any more, or which is no address of this host any more.
    Source {
        /// The old one.
        old: IpAddr,
        /// Whether the host still has it.
        own: bool,
    },
    /// The addresses that they were sent with, though a rule would now translate one.
    Untranslated(&'a TrackingRule),
}

impl KeptTo<'_> {
    /// Returns whether this is the address by which the entry replaces another.
    pub(super) fn keeps(&self, address: IpAddr) -> bool {
        matches!(self, Self::Destination { old, .. } | Self::Source { old, .. } if *old == address)
    }
}

/// Returns what connection tracking of a place knows, if it was asked.
pub(super) fn facts(evidence: &Evidence, side: Side) -> Option<&TrackingFacts> {
    evidence.findings(side).find_map(|finding| match finding {
        Finding::Tracking(facts) => Some(facts),
        _ => None,
    })
}

/// Returns the rules of a place that decide what connection tracking does.
pub(super) fn rules(evidence: &Evidence, side: Side) -> impl Iterator<Item = &TrackingRule> {
    evidence.findings(side).filter_map(|finding| match finding {
        Finding::TrackingRule(rule) => Some(rule),
        _ => None,
    })
}

/// Returns the entries that do something else than the rules would now, in path order.
pub(super) fn bound(evidence: &Evidence) -> Vec<BoundEcho<'_>> {
    evidence.sides().flat_map(|side| bound_at(evidence, side)).collect()
}

fn bound_at(evidence: &Evidence, side: Side) -> Vec<BoundEcho<'_>> {
    let entries = facts(evidence, side).map(|facts| facts.entries.as_slice()).unwrap_or_default();
    let rules: Vec<&TrackingRule> = rules(evidence, side).collect();
    let crossed = crossed(evidence, side);
    let of = |entry| judge(entry, &rules, &crossed).map(|to| BoundEcho { side, entry, to });
    entries.iter().filter(|entry| is_of_run(entry, evidence)).filter_map(of).collect()
}

/// Returns whether requests of the run made the entry: not an answer that nobody asked for, or the other end's own ping.
fn is_of_run(entry: &TrackedEcho, evidence: &Evidence) -> bool {
    matches!(entry.original.kind, 8 | 128) && Some(entry.original.source) != Some(evidence.target.address)
}

fn judge<'a>(entry: &TrackedEcho, rules: &[&'a TrackingRule], crossed: &Crossed) -> Option<KeptTo<'a>> {
    let of = |act: TrackingAct| rules.iter().copied().filter(move |rule| rule.act == act);
    let unread = of(TrackingAct::Unread).next().is_some();
    if let Some(old) = entry.sent_to().filter(|_| !unread) {
        let may = |rule: &TrackingRule| matching::redirects(rule) || names(rule, old);
        if !of(TrackingAct::Destination).any(may) {
            let now = of(TrackingAct::Destination).find(|rule| matches(rule, entry, crossed));
            return Some(KeptTo::Destination { old, now: now.and_then(matching::translates_to) });
        }
    }
    if let Some(old) = entry.sent_as() {
        let own = entry.own_source != Some(false);
        let may = |rule: &TrackingRule| names(rule, old) || matching::masquerades(rule) && own;
        if !unread && !of(TrackingAct::Source).any(may) {
            return Some(KeptTo::Source { old, own });
        }
    }
    if !entry.before || entry.sent_to().is_some() || entry.sent_as().is_some() {
        return None;
    }
    let would = |rule: &&TrackingRule| matches(rule, entry, crossed) && !names(rule, entry.original.source);
    of(TrackingAct::Destination).chain(of(TrackingAct::Source)).find(would).map(KeptTo::Untranslated)
}

/// Returns the interfaces by which requests came to a place, and left it.
fn crossed(evidence: &Evidence, side: Side) -> Crossed {
    let Some(place) = evidence.place(side) else {
        let name = |inwards| vec![evidence.crossed(side, Echo::Request, inwards).to_owned()];
        return if side == Side::Local {
            Crossed { inwards: Vec::new(), outwards: name(false) }
        } else {
            Crossed { inwards: name(true), outwards: Vec::new() }
        };
    };
    let at = |hop: Hop| {
        let saw =
            place.ports.iter().filter(move |port| port.seen(hop, Echo::Request).is_some_and(|seen| !seen.is_empty()));
        saw.map(|port| port.interface.clone()).collect()
    };
    Crossed { inwards: at(Hop::NetifIn), outwards: at(Hop::DevQueue) }
}

/// Returns what connection tracking knows at each place, for the document.
pub(super) fn told(evidence: &Evidence) -> Vec<TrackedPlace> {
    let of = |side: Side| {
        let facts = facts(evidence, side)?;
        let TrackingFacts { entries, before, before_unknown, count, most } = facts.clone();
        Some(TrackedPlace { place: evidence.name(side), entries, before, before_unknown, count, most })
    };
    evidence.sides().filter_map(of).collect()
}

/// Returns the rule that translates as was seen on `side`: `destination` says which address, `to` what it became.
pub(super) fn translator(evidence: &Evidence, side: Side, destination: bool, to: IpAddr) -> Option<&TrackingRule> {
    let act = if destination { TrackingAct::Destination } else { TrackingAct::Source };
    let of = || rules(evidence, side).filter(move |rule| rule.act == act);
    let gives = |rule: &&TrackingRule| names(rule, to);
    let own = |rule: &&TrackingRule| if destination { matching::redirects(rule) } else { matching::masquerades(rule) };
    let (mut named, mut any) = (of().filter(gives), of().filter(own));
    match (named.next(), named.next(), any.next(), any.next()) {
        (Some(one), None, None, _) | (None, _, Some(one), None) => Some(one),
        _ => None,
    }
}

/// Returns the command that deletes an entry.
pub(super) fn conntrack_command(entry: &TrackedEcho) -> String {
    let of = &entry.original;
    let zone = if entry.zone == 0 { String::new() } else { format!(" -w {}", entry.zone) };
    let (protocol, word) = if of.source.is_ipv4() { ("-p icmp", "icmp") } else { ("-f ipv6 -p icmpv6", "icmpv6") };
    format!(
        "conntrack -D {protocol} -s {} -d {} --{word}-type {} --{word}-code {} --{word}-id {}{zone}",
        of.source, of.destination, of.kind, of.code, of.id
    )
}

/// Returns what else ends an entry, as sentences.
pub(super) fn ends(entry: &TrackedEcho, evidence: &Evidence) -> String {
    let setting = if evidence.is_v6() { "nf_conntrack_icmpv6_timeout" } else { "nf_conntrack_icmp_timeout" };
    let wait = match entry.timeout_s {
        Some(seconds) => format!("some {seconds} s after the last packet with this id (net.netfilter.{setting})"),
        None => format!("some time after the last packet with this id (net.netfilter.{setting})"),
    };
    format!("Without conntrack(8): it ends by itself {wait}, and a ping with another id has an entry of its own.")
}

#[cfg(test)]
mod tests;
