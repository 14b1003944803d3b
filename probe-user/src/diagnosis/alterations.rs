//! What changed on the way but arrived: a rewritten id, an answer from another address; and oddities that are not
//! faults: duplicates, reordering. A TTL that falls is what TTLs do.

mod payload;

use probe_ebpf::Echo;
use std::collections::BTreeMap;

use probe_ebpf::Hop;

use super::{
    Evidence, ProbeMode, Responder, Walk, WalkStep,
    control::{ControlKind, ControlRun, VariedRun},
    document::{Alteration, Value},
    ledger::Ledger,
    path::{Checkpoint, Side, Station},
};
use crate::model::trace::{Finding, ProbePassage};

/// Returns what changed, by leg and in path order.
pub(super) fn find(ledger: &Ledger, evidence: &Evidence) -> Vec<Alteration> {
    let mut changes: BTreeMap<(Echo, usize, Value, Value), Alteration> = BTreeMap::new();
    let mut note = |leg, row, sent, seen, seen_at, field| {
        let fresh = || Alteration { leg, field, sent, seen, seen_at, place: None, by: None, packets: 0 };
        changes.entry((leg, row, sent, seen)).or_insert_with(fresh).packets += 1;
    };
    for sent in &evidence.sending.probes {
        let mut expected = sent.id;
        let mut told = Vec::new();
        for (index, row) in ledger.rows.iter().enumerate() {
            let (leg, at) = (row.step.leg, row.step.checkpoint);
            // Whoever undoes the rewriting on the way back restores the sender's id.
            if leg == Echo::Reply && at.host == Side::Local && evidence.two_sided() && leg != evidence.first_leg() {
                expected = sent.id;
            }
            let seen = id_at(evidence, leg, at, sent.probe).filter(|id| *id != 0);
            if let Some(seen) = seen.filter(|id| *id != expected) {
                if !told.contains(&(leg, seen)) && seen != sent.id {
                    told.push((leg, seen));
                    note(leg, index, Value::Id(sent.id), Value::Id(seen), at, "id");
                }
                expected = seen;
            }
        }
        let from = evidence.sending.received.get(&sent.probe).map(|received| received.from);
        if let Some(from) = from.filter(|from| *from != evidence.target.address && !is_group(evidence)) {
            let at = Checkpoint { host: Side::Local, station: Station::Recv };
            let (asked, answered) = (Value::Address(evidence.target.address), Value::Address(from));
            note(Echo::Reply, ledger.rows.len(), asked, answered, at, "source");
        }
    }
    changes.into_values().collect()
}

fn id_at(evidence: &Evidence, leg: Echo, at: Checkpoint, probe: u16) -> Option<u16> {
    match at.station {
        // What is rewritten in between shows at the ends, unless it is undone before.
        Station::Send | Station::Encap | Station::Decap | Station::Port(..) => None,
        Station::Recv => evidence.sending.received.get(&probe).map(|received| received.id),
        Station::Hop(hop) => step(evidence, leg, at.host, hop, probe).map(|step| step.id),
    }
}

/// Returns what a hop saw of a probe.
pub(super) fn step(evidence: &Evidence, leg: Echo, side: Side, hop: Hop, probe: u16) -> Option<ProbePassage> {
    evidence.host(side).hops.get(&hop)?.seen(leg)?.get(&probe).copied()
}

/// Reports whether several hosts may answer to the target's address.
pub(super) fn is_group(evidence: &Evidence) -> bool {
    match evidence.target.address {
        std::net::IpAddr::V4(target) => target.is_multicast() || target.is_broadcast() || target.octets()[3] == 255,
        std::net::IpAddr::V6(target) => target.is_multicast(),
    }
}

/// Oddities, a sentence each.
pub(super) fn notes(evidence: &Evidence) -> Vec<String> {
    let far = evidence.name(Side::Peer);
    let arrived_twice = doubled(evidence, evidence.first_leg());
    let read_twice = evidence.sending.received.values().filter(|received| received.times > 1).count();
    let late = overtaken(evidence);
    let noun = if evidence.first_leg() == Echo::Request { ("request", "requests") } else { ("reply", "replies") };
    [
        (arrived_twice, format!("{} reached {far} more than once", counted(arrived_twice, noun))),
        (read_twice, format!("{} arrived more than once", counted(read_twice, ("reply", "replies")))),
        (late, format!("{} arrived after one to a later probe", counted(late, ("reply", "replies")))),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(_, text)| text)
    .chain(late_replies(evidence))
    .chain(anycast(evidence))
    .chain(payload::notes(evidence))
    .chain(first_one(evidence))
    .chain(evidence.walk.as_ref().map(walked))
    .chain(evidence.controls.iter().map(super::control::ControlRun::text))
    .chain(evidence.varied.as_ref().and_then(|varied| fruitless(varied, evidence)))
    .chain(traced(evidence))
    .chain(untried(evidence))
    .collect()
}

/// Tells of replies that came when nobody was looking any more.
fn late_replies(evidence: &Evidence) -> Option<String> {
    let late = usize::from(evidence.sending.late);
    let they = if late == 1 { "it is" } else { "they are" };
    (late > 0).then(|| {
        format!(
            "{} came only after the hops had been read, and {they} left out: what held them back had ended by then",
            counted(late, ("reply", "replies"))
        )
    })
}

/// Says that an answer by another address is as it should be, where every router of a link has the address that was asked.
fn anycast(evidence: &Evidence) -> Option<String> {
    let target = evidence.target.address;
    // The subnet-router anycast address of a network of 64 bits (RFC 4291 section 2.6.1).
    let all_routers =
        matches!(target, std::net::IpAddr::V6(v6) if v6.segments()[4..] == [0; 4] && v6.segments()[..4] != [0; 4]);
    let from = evidence.sending.received.values().map(|received| received.from).find(|from| *from != target)?;
    all_routers.then(|| {
        format!("{target} is the anycast address of the routers of its network: the one that answers does so from an address of its own, here {from}")
    })
}

/// Says that the packet before the run, which only looked ahead, fared worse than those of the run: the first of a flow may meet
/// what those behind it do not, and `ping` counts it.
fn first_one(evidence: &Evidence) -> Option<String> {
    let ahead = evidence.sending.unanswered_ahead.as_ref().filter(|_| !evidence.sending.received.is_empty())?;
    let why = ahead.error.as_ref().map_or_else(String::new, |error| {
        format!(": {} says that it was dropped ({})", error.from, super::rules::said::meaning(error))
    });
    Some(format!(
        "one more request went ahead of these to find the way, and was not answered{why}; ping would count it as lost"
    ))
}

/// Returns who answered which TTL.
fn walked(walk: &Walk) -> String {
    let step = |step: &WalkStep| {
        format!("{} {}", step.ttl, step.from.map_or_else(|| "nobody".to_owned(), |from| from.to_string()))
    };
    let steps: Vec<String> = walk.steps.iter().map(step).collect();
    format!("to a rising TTL answered: {}", steps.join(", "))
}

/// Says what was varied in vain, where that was asked for.
fn fruitless(varied: &VariedRun, evidence: &Evidence) -> Option<String> {
    varied.asked.then_some(())?;
    let field = |control: &ControlRun| matches!(control.kind, ControlKind::Field { .. });
    let tried = if varied.tried.is_empty() { "nothing".to_owned() } else { varied.tried.join(", ") };
    let sent = format!("{} requests in {:.1} s", varied.packets, varied.took_ms as f64 / 1000.0);
    let untried = match varied.untried.as_slice() {
        [] => String::new(),
        untried => format!("; not tried: {}", untried.join("; ")),
    };
    Some(match (evidence.controls.iter().any(field), varied.over) {
        (true, _) => format!("varied: {tried} ({sent}); what is not listed here made no difference{untried}"),
        (false, true) => {
            format!(
                "varied: unchanged requests were answered meanwhile: what stopped the run comes and goes ({sent}){untried}"
            )
        }
        (false, false) => format!("varied: none of these makes them pass: {tried} ({sent}){untried}"),
    })
}

/// Returns the exact rules that ended packets, if rules were traced.
fn traced(evidence: &Evidence) -> impl Iterator<Item = String> {
    evidence.sides().flat_map(move |side| {
        evidence.findings(side).filter_map(move |finding| {
            let Finding::Rule { family, table, chain, handle, rule, packets, leg, .. } = finding else { return None };
            let noun = if *leg == Echo::Request { ("request", "requests") } else { ("reply", "replies") };
            let handle = handle.map(|handle| format!(" handle {handle}")).unwrap_or_default();
            let count = counted(usize::try_from(*packets).unwrap_or(usize::MAX), noun);
            Some(format!(
                "on {} the rule \"{rule}\" ({family} {table} {chain}{handle}) ended {count}",
                evidence.name(side)
            ))
        })
    })
}

/// Returns what a run says nothing about because somebody answered before it.
fn untried(evidence: &Evidence) -> Option<String> {
    let far = evidence.name(Side::Peer);
    let text = match (evidence.responder, evidence.mode, &evidence.peer) {
        (_, ProbeMode::ReplyOnly | ProbeMode::RequestOnly, _)
        | (_, _, None)
        | (Responder::Kernel | Responder::Nobody, ..) => {
            return None;
        }
        (Responder::Agent, ..) => {
            format!("requests were taken at the NIC of {far}: its input firewall and its ICMP were not tested")
        }
        (Responder::Xdp, _, Some(peer)) => {
            let mode = &peer.host.xdp_mode;
            format!("requests were turned around at the NIC of {far} ({mode} XDP): its stack was not tested")
        }
    };
    Some(text)
}

fn counted(count: usize, (one, many): (&str, &str)) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Counts how many probes entered the far end more often than they left this host.
fn doubled(evidence: &Evidence, leg: Echo) -> usize {
    let times = |side, hops: &[Hop], probe| {
        hops.iter().find_map(|hop| step(evidence, leg, side, *hop, probe)).map(|step| step.times)
    };
    let more = |probe: u16| {
        let entered = times(Side::Peer, &[Hop::XdpIn, Hop::NetifIn, Hop::TcIn], probe);
        let left = times(Side::Local, &[Hop::Xmit, Hop::DevQueue, Hop::TcOut], probe);
        entered.zip(left).is_some_and(|(entered, left)| entered > left.max(1))
    };
    if evidence.two_sided() { evidence.sending.probes.iter().filter(|sent| more(sent.probe)).count() } else { 0 }
}

/// Counts how many replies were read after one to a later probe.
fn overtaken(evidence: &Evidence) -> usize {
    let mut earliest_later = u64::MAX;
    let mut late = 0;
    for sent in evidence.sending.probes.iter().rev() {
        let Some(received) = evidence.sending.received.get(&sent.probe) else { continue };
        late += usize::from(received.time_ns > earliest_later);
        earliest_later = earliest_later.min(received.time_ns);
    }
    late
}
