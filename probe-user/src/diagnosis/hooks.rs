//! Netfilter's hooks in the places in between: which of them saw which probes, and which hop must follow another.

use probe_ebpf::Echo;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use probe_ebpf::{Hop, contract::hook::HOOK_HOPS};

use super::{Evidence, path::Side};
use crate::model::trace::{HookTrace, HopTrace, PlaceTrace, ProbePassage};

/// Why the hooks of a place that the run met too late are blind.
const LATE: &str = "probes were first seen there when the run was already under way";

/// The hops of a packet that a place forwards, in the order in which the kernel runs them.
pub(super) const FORWARD: [Hop; 6] = [
    Hop::NfPreroutingFirst,
    Hop::NfPreroutingLast,
    Hop::NfForwardFirst,
    Hop::NfForwardLast,
    Hop::NfPostroutingFirst,
    Hop::NfPostroutingLast,
];

/// Those of a packet that is for the place.
pub(super) const INPUT: [Hop; 4] = [Hop::NfPreroutingFirst, Hop::NfPreroutingLast, Hop::NfInputFirst, Hop::NfInputLast];

/// Those of a packet that the place makes.
pub(super) const OUTPUT: [Hop; 4] =
    [Hop::NfOutputFirst, Hop::NfOutputLast, Hop::NfPostroutingFirst, Hop::NfPostroutingLast];

/// Those of a packet that leaves by a device.
pub(super) const LEAVES: [Hop; 2] = [Hop::DevQueue, Hop::Xmit];

/// Reports whether it is a hop of netfilter, which belongs to a place as a whole and not to one of its interfaces.
pub(super) fn is_hook(hop: Hop) -> bool {
    HOOK_HOPS.contains(&hop)
}

/// Returns the hooks of a place that were watched before any probe of the run came.
fn in_time(place: &PlaceTrace) -> Option<&HookTrace> {
    let seen = |hop: &HopTrace| {
        let legs = [Echo::Request, Echo::Reply].into_iter().filter_map(|leg| hop.seen(leg));
        legs.flat_map(BTreeMap::values).map(|passage| passage.first_ns).min()
    };
    let first = place.ports.iter().flat_map(|port| port.hops.values()).filter_map(seen).min();
    place.hooks.as_ref().filter(|hooks| first.is_none_or(|first| hooks.since_ns <= first))
}

/// Returns why `hop` of a place says nothing, if it should have been watched and was not.
pub(super) fn blind(place: &PlaceTrace, hop: Hop) -> Option<String> {
    let told = place.hooks.as_ref()?;
    match (told.hops.get(&hop)?, in_time(place)) {
        (HopTrace::Blind { why }, _) => Some(why.clone()),
        (HopTrace::Watched { .. }, None) => Some(LATE.to_owned()),
        (HopTrace::Watched { .. }, Some(_)) => None,
    }
}

/// Returns what `hop` of a place saw of a leg, by probe; `None` if it was not watched.
pub(super) fn seen(place: &PlaceTrace, hop: Hop, leg: Echo) -> Option<&BTreeMap<u16, ProbePassage>> {
    in_time(place)?.hops.get(&hop)?.seen(leg)
}

/// Reports whether every hook of the place was watched, and saw nothing of a leg: a bridge passes on what enters none.
pub(super) fn saw_none(evidence: &Evidence, side: Side, leg: Echo) -> bool {
    let silent = |place: &PlaceTrace| {
        let mut hops = FORWARD.iter().chain(&INPUT);
        hops.all(|hop| seen(place, *hop, leg).is_some_and(BTreeMap::is_empty))
    };
    evidence.place(side).is_some_and(silent)
}

/// Returns the destination of the packets of a leg as routing in a place met it, after what prerouting rewrote.
pub(super) fn destination(place: &PlaceTrace, leg: Echo) -> Option<IpAddr> {
    let hops = [Hop::NfPostroutingFirst, Hop::NfForwardFirst, Hop::NfPreroutingLast];
    hops.iter().find_map(|hop| seen(place, *hop, leg)?.values().find_map(|passage| passage.destination))
}

/// Returns the hop that must follow `hop` for packets that come in, if none of those that may follow was seen.
pub(super) fn follows(hop: Hop, seen: &BTreeSet<Hop>, ends_here: bool) -> Option<Hop> {
    let unless = |others: &[Hop], next: Hop| (!others.iter().any(|other| seen.contains(other))).then_some(next);
    match hop {
        Hop::NfPreroutingLast if ends_here => unless(&[Hop::NfInputFirst, Hop::NfForwardFirst], Hop::NfInputFirst),
        Hop::NfPreroutingLast => unless(&[Hop::NfInputFirst, Hop::NfForwardFirst], Hop::NfForwardFirst),
        Hop::NfForwardLast | Hop::NfOutputLast => unless(&[Hop::NfPostroutingFirst], Hop::NfPostroutingFirst),
        first => last_of(first).and_then(|last| unless(&[last], last)),
    }
}

/// Returns the last hop of the hook whose first one it is.
fn last_of(first: Hop) -> Option<Hop> {
    Some(match first {
        Hop::NfPreroutingFirst => Hop::NfPreroutingLast,
        Hop::NfForwardFirst => Hop::NfForwardLast,
        Hop::NfInputFirst => Hop::NfInputLast,
        Hop::NfOutputFirst => Hop::NfOutputLast,
        Hop::NfPostroutingFirst => Hop::NfPostroutingLast,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::trace::PortTrace;

    fn watched(first_ns: u64) -> HopTrace {
        let passage = ProbePassage { first_ns, times: 1, ..ProbePassage::default() };
        HopTrace::Watched { requests: [(1, passage)].into(), replies: BTreeMap::new() }
    }

    fn place(since_ns: u64) -> PlaceTrace {
        let hop = Hop::NfForwardFirst;
        let hops = [(hop, watched(7))].into();
        let port = PortTrace { interface: "eth0".into(), hops: [(Hop::NetifIn, watched(5))].into() };
        PlaceTrace { ports: vec![port], hooks: Some(HookTrace { since_ns, hops }), ..PlaceTrace::default() }
    }

    #[test]
    fn hooks_that_were_watched_too_late_are_blind() {
        let hop = Hop::NfForwardFirst;
        assert_eq!(blind(&place(4), hop), None);
        assert!(seen(&place(4), hop, Echo::Request).is_some_and(|seen| seen.contains_key(&1)));
        assert_eq!(blind(&place(6), hop).as_deref(), Some(LATE));
        assert_eq!(seen(&place(6), hop, Echo::Request), None);
    }

    #[test]
    fn what_follows_is_the_other_end_of_the_hook_or_the_next_one() {
        let none = BTreeSet::new();
        assert_eq!(follows(Hop::NfForwardFirst, &none, false), Some(Hop::NfForwardLast));
        assert_eq!(follows(Hop::NfForwardFirst, &[Hop::NfForwardLast].into(), false), None);
        assert_eq!(follows(Hop::NfPreroutingLast, &none, false), Some(Hop::NfForwardFirst));
        assert_eq!(follows(Hop::NfPreroutingLast, &none, true), Some(Hop::NfInputFirst));
        assert_eq!(follows(Hop::NfPostroutingLast, &none, false), None);
    }
}
