//! A rule about connection tracking: replies that came to the host that rewrote their requests, and were not translated
//! back.

use probe_ebpf::{Echo, Hop};

use super::{Ruling, Weight};
use crate::diagnosis::{
    Evidence,
    document::{Cause, Witness},
    hooks,
    ledger::Gap,
    path::{Side, Station},
    places::{DropLocation, DropPoint, host_of},
    tracking,
};
use crate::model::trace::{TrackedEcho, TrackingAct};

/// Judges whether a host in between took the replies for its own: they are for the address that it gave the requests,
/// and its entry for those still waits for an answer.
pub(super) fn not_undone(gap: &Gap, evidence: &Evidence) -> Option<Ruling> {
    let side = gap.last_seen.host;
    let taken =
        matches!(gap.last_seen.station, Station::Port(Hop::NfPreroutingLast | Hop::NfInputFirst | Hop::NfInputLast, _));
    (gap.leg == Echo::Reply && taken && matches!(side, Side::Via(_))).then_some(())?;
    let seen = hooks::seen(evidence.place(side)?, Hop::NfPreroutingLast, Echo::Reply)?;
    let passage = seen.get(gap.probes.first()?)?;
    let waits =
        |entry: &&TrackedEcho| !entry.replied && entry.sent_as().is_some() && entry.sent_as() == passage.destination;
    let entry = tracking::facts(evidence, side)?.entries.iter().find(waits)?;
    let rule = |act: TrackingAct| tracking::rules(evidence, side).find(move |rule| rule.act == act);
    let because = match (rule(TrackingAct::Zone), rule(TrackingAct::Untracked)) {
        (Some(rule), _) => {
            format!("is in zone {}, and they are looked for in another, by the rule \"{}\"", entry.zone, rule.rule)
        }
        (None, Some(rule)) => format!("is not used, as the rule \"{}\" exempts them from tracking", rule.rule),
        (None, None) if entry.reply.id != passage.id => {
            format!("expects id {}, and they have {}", entry.reply.id, passage.id)
        }
        (None, None) => "still waits for them".to_owned(),
    };
    let (gave, sender) = (entry.reply.destination, entry.original.source);
    let detail = format!("they came for {gave}, and the conntrack entry that makes that {sender} again {because}");
    let cause = Cause { reason: Some("NAT_NOT_UNDONE".into()), detail: Some(detail), ..Cause::default() };
    let spot = DropLocation { leg: Echo::Reply, host: host_of(side), place: DropPoint::NfPrerouting };
    Ruling::at(vec![spot], cause, Witness::Conntrack, Weight::Explains)
}
