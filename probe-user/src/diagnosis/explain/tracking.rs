//! Connection tracking as the cause: a full table, packets that belong to no connection, an entry older than the rules.

use std::net::IpAddr;

use probe_ebpf::{Echo, Hop};

use super::{StopCase, StopExplanation};
use crate::{
    diagnosis::{
        Evidence, ProbeMode,
        document::{Layer, Netfilter, StopHost},
        hooks,
        path::Side,
        places::DropPoint,
        tracking::{self, BoundEcho, KeptTo, conntrack_command, ends},
    },
    model::trace::{Finding, TrackedEcho, TrackingAct, TrackingFacts, TrackingRule},
};

/// Explains by the first of these that has something to say.
pub(super) fn explain(case: &StopCase<'_>) -> Option<StopExplanation> {
    full(case).or_else(|| stateless(case)).or_else(|| bound(case))
}

/// Reports that there is no room for another entry.
fn full(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    matches!(case.stop.place, DropPoint::NfPrerouting | DropPoint::NfOutput).then_some(())?;
    let facts = tracking::facts(case.evidence, side)?;
    let (count, most) = (facts.count?, facts.most.filter(|most| *most > 0)?);
    let risen = case.evidence.findings(side).find_map(|finding| match finding {
        Finding::Counter { name, by } if name == "conntrack.drop" => Some(*by),
        _ => None,
    });
    // The entries of this run are there, so it had room.
    let room = count < most && risen.is_none() || facts.entries.iter().any(|entry| entry.replied);
    (!room).then_some(())?;
    let more = most.saturating_mul(2);
    let full = format!("the table of connection tracking is full: {count} entries, and {most} are allowed");
    Some(StopExplanation {
        tracking: Some(full.clone()),
        detail: Some(full),
        meaning: format!(
            "Connection tracking drops each packet that would need a new entry, and the kernel logs \"nf_conntrack: table full, \
             dropping packet\"; no rule drops them. net.netfilter.nf_conntrack_max is set in the host's first network namespace.\
             {}",
            risen.map(|by| format!(" It dropped {by} during this run.")).unwrap_or_default()
        ),
        commands: vec![
            "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max".to_owned(),
            format!("sysctl -w net.netfilter.nf_conntrack_max={more}"),
            "cat /proc/net/stat/nf_conntrack".to_owned(),
        ],
        ..StopExplanation::default()
    })
}

/// Reports that a chain drops what belongs to no connection, or lets only what belongs to one pass, and that these
/// packets belong to none that it knows.
fn stateless(case: &StopCase<'_>) -> Option<StopExplanation> {
    let side = case.spot.side()?;
    (case.stop.layer == Layer::Netfilter).then_some(())?;
    let facts = tracking::facts(case.evidence, side)?;
    let netfilter = case.stop.cause.netfilter.as_ref()?;
    let untracked = tracking::rules(case.evidence, side).find(|rule| rule.act == TrackingAct::Untracked);
    let zoned = tracking::rules(case.evidence, side).find(|rule| rule.act == TrackingAct::Zone);
    let asks =
        |rule: &TrackingRule| rule.act == TrackingAct::State && rule.hook.is_some() && rule.hook == netfilter.hook;
    let by_policy = tracking::rules(case.evidence, side).any(asks);
    // Each of the rules that can have done it must be of that kind.
    let can_be = |rule: &str| {
        let invalid = rule.contains("ct state") && rule.contains("invalid") || rule.contains("INVALID");
        invalid || rule == "policy drop" && by_policy
    };
    let all = match netfilter.rule.as_deref() {
        Some(rule) => can_be(rule),
        None => {
            let several = several(case.evidence, side, netfilter);
            !several.is_empty() && several.into_iter().all(can_be)
        }
    };
    all.then_some(())?;
    let reply = case.stop.leg == Echo::Reply;
    let name = case.evidence.whom(side);
    let (why, mend) = match (reply, untracked, waiting(facts)) {
        (true, ..) if case.evidence.mode == ProbeMode::ReplyOnly => (
            format!("nobody asked for them, so they are invalid for connection tracking of {name}"),
            "That is what such a rule is for: a reply passes only if its request went the other way before.",
        ),
        (true, ..) if foreign_source(case, side).is_some() => (
            format!(
                "they come from {}, and their requests went to {}, so that they belong to no connection of {name}",
                foreign_source(case, side)?,
                case.evidence.target.address
            ),
            "Who translated the destination of the requests has to see the replies too, to translate them back: they must go \
             back through it, as they do if it translates the source of the requests as well (hairpin NAT).",
        ),
        (true, _, Some(entry)) if zoned.is_some() || entry.zone != 0 => (
            format!(
                "the requests are tracked in zone {}, and the replies are looked for in another{}",
                entry.zone,
                zoned.map(|rule| format!(": the rule \"{}\" of {}", rule.rule, chain(rule))).unwrap_or_default()
            ),
            "Put both directions into one zone, or set the zone for the original direction only (`ct original zone \
             set`).",
        ),
        (true, Some(rule), Some(_)) => (
            format!("the rule \"{}\" of {} exempts the replies from tracking", rule.rule, chain(rule)),
            "Only the state `untracked` matches them: let that pass, or track both directions.",
        ),
        (true, Some(rule), None) => (
            format!("the rule \"{}\" of {} exempts the requests from tracking", rule.rule, chain(rule)),
            "Replies to what is not tracked are `untracked` or `invalid`, and never `established`: let them pass \
             whatever their state, or track both directions.",
        ),
        (false, Some(rule), None) => (
            format!("the rule \"{}\" of {} exempts them from tracking", rule.rule, chain(rule)),
            "Only the state `untracked` matches them: let that pass, or do not exempt them.",
        ),
        (true, None, None) if !requests_crossed(case.evidence, side) => (
            format!("their requests did not pass {name}, so it knows of no connection that they belong to"),
            "The way back differs from the way there. Route both through one host, or let echo replies pass whatever \
             their state.",
        ),
        (true, None, None) if facts.entries.is_empty() => (
            format!("connection tracking of {name} no longer has an entry for their requests"),
            "The entry ended before the reply came: it timed out (nf_conntrack_icmp_timeout), or it was deleted.",
        ),
        _ => return None,
    };
    let detail = case.stop.cause.detail.as_ref().map_or_else(|| why.clone(), |rule| format!("{rule}; {why}"));
    let mut commands = Vec::new();
    if let (Some(family), Some(table), Some(chain)) = (&netfilter.family, &netfilter.table, &netfilter.chain) {
        commands.push(format!("nft -a list chain {family} {table} {chain}"));
    }
    let deciding = untracked.or(zoned).filter(|rule| !rule.legacy);
    commands.extend(deciding.map(|rule| format!("nft -a list chain {} {}", rule.table_words(), rule.chain)));
    if let Some(source) = case.evidence.local.host.address.filter(|_| reply) {
        commands.push(format!("ip {} route get {source}", case.ip_version()));
    }
    commands.push(list_command(case.evidence));
    Some(StopExplanation {
        tracking: Some(why),
        detail: Some(detail),
        meaning: mend.to_owned(),
        commands,
        ..StopExplanation::default()
    })
}

/// Returns from where all replies that died at the sender came, if that is not where their requests went.
fn foreign_source(case: &StopCase<'_>, side: Side) -> Option<IpAddr> {
    let target = case.evidence.target.address;
    (side == Side::Local && case.gap.leg == Echo::Reply && !target.is_multicast()).then_some(())?;
    let events = case.gap.events(case.evidence);
    let mut sources = events.iter().map(|event| event.drop.source);
    let first = sources.next().filter(|source| *source != target)?;
    sources.all(|source| source == first).then_some(first)
}

/// Returns the rules of the only chain that can have ended them, with its policy if that drops.
fn several<'a>(evidence: &'a Evidence, side: Side, netfilter: &Netfilter) -> Vec<&'a str> {
    let chain = evidence.findings(side).find_map(|finding| match finding {
        Finding::Chain { hook, table, chain, policy, ending, can_drop: true, .. }
            if Some(*hook) == netfilter.hook
                && Some(table) == netfilter.table.as_ref()
                && Some(chain) == netfilter.chain.as_ref() =>
        {
            Some((policy, ending))
        }
        _ => None,
    });
    let Some((policy, ending)) = chain else { return Vec::new() };
    let policy = policy.eq_ignore_ascii_case("drop").then_some("policy drop");
    ending.iter().map(|rule| rule.rule.as_str()).chain(policy).collect()
}

/// Returns the entry that waits for an answer.
fn waiting(facts: &TrackingFacts) -> Option<&TrackedEcho> {
    facts.entries.iter().find(|entry| matches!(entry.original.kind, 8 | 128) && !entry.replied)
}

/// Returns whether requests were seen to come to a place, or to be sent by it.
fn requests_crossed(evidence: &Evidence, side: Side) -> bool {
    let Some(place) = evidence.place(side) else {
        return side == Side::Local
            || evidence
                .host(side)
                .hops
                .values()
                .any(|hop| hop.seen(Echo::Request).is_some_and(|seen| !seen.is_empty()));
    };
    let ports =
        place.ports.iter().any(|port| port.seen(Hop::NetifIn, Echo::Request).is_some_and(|seen| !seen.is_empty()));
    ports || hooks::seen(place, Hop::NfPreroutingFirst, Echo::Request).is_some_and(|seen| !seen.is_empty())
}

fn chain(rule: &TrackingRule) -> String {
    let table = if rule.legacy { rule.table.clone() } else { rule.table_words() };
    format!("{table}, chain {}", rule.chain)
}

fn list_command(evidence: &Evidence) -> String {
    let protocol = if evidence.is_v6() { "-f ipv6 -p icmpv6" } else { "-p icmp" };
    format!("conntrack -L {protocol}")
}

/// Reports that an entry keeps them to what no rule says any more.
fn bound(case: &StopCase<'_>) -> Option<StopExplanation> {
    let bound =
        tracking::bound(case.evidence).into_iter().find(|bound| concerns(case, bound) && lies_behind(case, bound))?;
    let BoundEcho { side, entry, to } = bound;
    let name = case.evidence.whom(side);
    let id = entry.original.id;
    let age = if entry.before { " from before this run" } else { "" };
    let (what, mend) = match to {
        KeptTo::Destination { old, now } => {
            let now = now.map_or_else(|| "no rule does".to_owned(), |now| format!("the rules say {now}"));
            (format!("still sends id {id} to {old}, where {now}"), "the rules that hold now decide")
        }
        KeptTo::Source { old, own: true } => {
            (format!("still gives id {id} the source {old}, where no rule does"), "the rules that hold now decide")
        }
        KeptTo::Source { old, own: false } => (
            format!("gives id {id} the source {old}, which is not an address of {name}"),
            "a rule chooses the source anew",
        ),
        KeptTo::Untranslated(rule) => (
            format!(
                "keeps id {id} to its addresses, though the rule \"{}\" of {} would translate them",
                rule.rule,
                chain(rule)
            ),
            "that rule decides",
        ),
    };
    let said = format!("a conntrack entry of {name}{age} {what}");
    let detail = case.stop.cause.detail.as_ref().map_or_else(|| said.clone(), |known| format!("{known}; {said}"));
    let mut commands = vec![conntrack_command(entry)];
    if let KeptTo::Untranslated(rule) = to
        && !rule.legacy
    {
        commands.push(format!("nft -a list chain {} {}", rule.table_words(), rule.chain));
    } else {
        commands.push("nft list ruleset | grep -n 'nat\\|masquerade'".to_owned());
    }
    Some(StopExplanation {
        tracking: Some(said),
        detail: Some(detail),
        meaning: format!(
            "Addresses are translated as the first packet of an entry was, whatever becomes of the rules; once it is deleted, \
             {mend}. {}",
            ends(entry, case.evidence)
        ),
        commands,
        on: Some(side),
    })
}

/// Returns whether what an entry does may be why packets stop there: a wrong destination may, whatever ends them there;
/// a wrong source only if answers to it are what fails.
fn concerns(case: &StopCase<'_>, bound: &BoundEcho<'_>) -> bool {
    let of_destination = match bound.to {
        KeptTo::Destination { .. } => true,
        KeptTo::Source { .. } => false,
        KeptTo::Untranslated(rule) => rule.act == TrackingAct::Destination,
    };
    let answers = matches!(case.stop.place, DropPoint::RouteBack | DropPoint::Neighbour | DropPoint::RouteIn);
    of_destination
        || matches!(case.stop.host, StopHost::Network | StopHost::Beyond)
        || case.stop.leg == Echo::Reply && answers
}

/// Returns whether packets stop after the entry was applied.
fn lies_behind(case: &StopCase<'_>, bound: &BoundEcho<'_>) -> bool {
    let rank = |side: Side| match side {
        Side::Local => 0,
        Side::Via(number) => 1 + usize::from(number),
        Side::Peer => usize::MAX,
    };
    let stop = case.stop;
    match (case.spot.side(), stop.leg) {
        (None, _) => stop.host == StopHost::Beyond || last_seen_rank(case, &rank) >= rank(bound.side),
        (Some(_), Echo::Reply) => true,
        (Some(at), Echo::Request) if at == bound.side => {
            // A destination is translated in the first hook, a source in the last.
            let from = match (bound.to, at) {
                (KeptTo::Source { .. }, _) => DropPoint::NfPostrouting,
                (_, Side::Local) => DropPoint::NfOutput,
                _ => DropPoint::RouteIn,
            };
            stop.place >= from || matches!(at, Side::Via(_)) && stop.place < DropPoint::DriverIn
        }
        (Some(at), Echo::Request) => rank(at) > rank(bound.side),
    }
}

fn last_seen_rank(case: &StopCase<'_>, rank: &impl Fn(Side) -> usize) -> usize {
    rank(case.stop.last_seen.host)
}
