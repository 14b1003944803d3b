//! What was rewritten on the way, and between which two hops: addresses by a NAT, a TTL by a rule. Not a fault by
//! itself; but the address with which a packet arrived explains many drops after it.

use std::{collections::BTreeMap, net::IpAddr};

use probe_ebpf::{Echo, Hop};

use super::{
    Evidence,
    document::{Alteration, Value},
    hooks,
    ledger::Ledger,
    path::{Checkpoint, Side, Station},
    tracking,
};
use crate::model::{netfilter::NetfilterHook, trace::ProbePassage};

/// What a packet was like at a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    id: u16,
}

/// A change of one field between two hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rewrite {
    pub(super) leg: Echo,
    pub(super) field: &'static str,
    pub(super) from: Value,
    pub(super) to: Value,
    /// The last hop that saw it as it was.
    pub(super) before: Checkpoint,
    /// The first hop that saw it changed.
    pub(super) after: Checkpoint,
    pub(super) packets: usize,
}

/// Finds what was rewritten, in path order.
pub(super) fn find(ledger: &Ledger, evidence: &Evidence) -> Vec<Rewrite> {
    let mut found: Vec<Rewrite> = Vec::new();
    let Some(local) = evidence.local.host.address else { return found };
    // What a hop saw is looked up once for all probes: there may be a thousand of them.
    let steps = ledger.rows.iter().map(|row| (row.step.leg, row.step.checkpoint));
    // Answers of several hosts are no packet that is rewritten from one to the next.
    let group = super::alterations::is_group(evidence);
    let steps = steps.filter(|(leg, _)| *leg == evidence.first_leg() || !group);
    let steps: Vec<_> = steps.filter_map(|(leg, at)| Some((leg, at, passages(evidence, leg, at)?))).collect();
    for sent in &evidence.sending.probes {
        let mut last: BTreeMap<Echo, (Header, Checkpoint)> = BTreeMap::new();
        for (leg, at, passages) in &steps {
            let (leg, at) = (*leg, *at);
            let Some(passage) = passages.get(&sent.probe) else { continue };
            let header = header(evidence, passage, leg, at.host, local);
            if let Some((before, place)) = last.insert(leg, (header, at)) {
                for (field, from, to) in changes(&before, &header, place, at) {
                    note(&mut found, Rewrite { leg, field, from, to, before: place, after: at, packets: 1 });
                }
            }
        }
    }
    found
}

fn note(found: &mut Vec<Rewrite>, new: Rewrite) {
    let same = |old: &&mut Rewrite| {
        (old.leg, old.field, old.from, old.to, old.after) == (new.leg, new.field, new.from, new.to, new.after)
    };
    match found.iter_mut().find(same) {
        Some(old) => old.packets += 1,
        None => found.push(new),
    }
}

fn changes(old: &Header, new: &Header, before: Checkpoint, after: Checkpoint) -> Vec<(&'static str, Value, Value)> {
    let mut changes = Vec::new();
    for (field, old, new) in [("source", old.source, new.source), ("destination", old.destination, new.destination)] {
        if old != new {
            changes.push((field, Value::Address(old), Value::Address(new)));
        }
    }
    // At an end, which reports every change of the id, it is not known who made it.
    if matches!(after.host, Side::Via(_)) && old.id != new.id && old.id != 0 && new.id != 0 {
        changes.push(("id", Value::Id(old.id), Value::Id(new.id)));
    }
    // Between hops of one end nobody forwards, so that nothing but a rule or a program changes a TTL.
    let one_end = before.host == after.host && !matches!(before.host, Side::Via(_));
    let outwards = |at: Checkpoint| matches!(at.station, Station::Hop(hop) if hop <= Hop::Xmit);
    let same_way = outwards(before) == outwards(after);
    if one_end && same_way && old.ttl != new.ttl && old.ttl != 0 && new.ttl != 0 {
        changes.push(("ttl", Value::Id(old.ttl.into()), Value::Id(new.ttl.into())));
    }
    changes
}

/// Returns what a hop or an interface in between saw of a leg, by probe.
fn passages(evidence: &Evidence, leg: Echo, at: Checkpoint) -> Option<&BTreeMap<u16, ProbePassage>> {
    match at.station {
        Station::Send | Station::Recv | Station::Encap | Station::Decap => None,
        Station::Hop(hop) => evidence.host(at.host).hops.get(&hop)?.seen(leg),
        Station::Port(hop, _) if hooks::is_hook(hop) => hooks::seen(evidence.place(at.host)?, hop, leg),
        Station::Port(hop, port) => evidence.place(at.host)?.ports.get(usize::from(port))?.seen(hop, leg),
    }
}

/// Returns the header at a hop: a host reports addresses only if they are not those of the pair that it watches.
fn header(evidence: &Evidence, passage: &ProbePassage, leg: Echo, side: Side, local: IpAddr) -> Header {
    let target = if side == Side::Peer && !super::alterations::is_group(evidence) {
        evidence.peer.as_ref().and_then(|peer| peer.host.address).unwrap_or(evidence.target.address)
    } else {
        evidence.target.address
    };
    let towards_target = (leg == Echo::Request) != (evidence.first_leg() == Echo::Reply);
    let (from, to) = if towards_target { (local, target) } else { (target, local) };
    Header {
        source: passage.source.unwrap_or(from),
        destination: passage.destination.unwrap_or(to),
        ttl: passage.ttl,
        id: passage.id,
    }
}

impl Rewrite {
    /// Returns it as the documents have it.
    pub(super) fn alteration(&self, evidence: &Evidence) -> Alteration {
        Alteration {
            leg: self.leg,
            field: self.field,
            sent: self.from,
            seen: self.to,
            seen_at: self.after,
            place: Some(self.place(evidence)),
            by: self.by(evidence),
            packets: self.packets,
        }
    }

    /// Returns the rule of the host that did it, if only one can have.
    fn by(&self, evidence: &Evidence) -> Option<String> {
        let Value::Address(to) = self.to else { return None };
        (self.before.host == self.after.host && self.leg == evidence.first_leg()).then_some(())?;
        let side = self.after.host;
        let by_entry = tracking::bound(evidence).iter().any(|bound| bound.side == side && bound.to.keeps(to));
        (!by_entry).then_some(())?;
        tracking::translator(evidence, side, self.field == "destination", to).map(|rule| rule.rule.clone())
    }

    /// Returns where it was done, as a clause.
    pub(super) fn place(&self, evidence: &Evidence) -> String {
        let name = |side: Side| evidence.whom(side);
        let (before, after) = (self.before, self.after);
        if before.host != after.host {
            return format!("between {} and {}", name(before.host), name(after.host));
        }
        let hook = match (before.station, after.station) {
            (Station::Hop(before) | Station::Port(before, _), Station::Hop(after) | Station::Port(after, _)) => {
                hook(before, after)
            }
            _ => None,
        };
        match hook {
            Some(hook) => format!("on {}, in hook {hook}", name(before.host)),
            None => format!("on {}", name(before.host)),
        }
    }
}

/// Returns the netfilter hook between two hops that are its ends.
fn hook(before: Hop, after: Hop) -> Option<NetfilterHook> {
    Some(match (before, after) {
        (Hop::NfOutputFirst, Hop::NfOutputLast) => NetfilterHook::Output,
        (Hop::NfPostroutingFirst, Hop::NfPostroutingLast) => NetfilterHook::Postrouting,
        (Hop::NfPreroutingFirst, Hop::NfPreroutingLast) => NetfilterHook::Prerouting,
        (Hop::NfInputFirst, Hop::NfInputLast) => NetfilterHook::Input,
        (Hop::NfForwardFirst, Hop::NfForwardLast) => NetfilterHook::Forward,
        _ => return None,
    })
}

/// Says if packets came in to an end by one device and went out by another.
pub(super) fn other_ways(evidence: &Evidence) -> Vec<String> {
    if super::alterations::is_group(evidence) {
        return Vec::new();
    }
    let sides = [Side::Local, Side::Peer].into_iter().filter(|side| *side == Side::Local || evidence.two_sided());
    let one = |side: Side| {
        let (first, second) = match side {
            Side::Local => ((evidence.first_leg(), false), (Echo::Reply, true)),
            _ => ((evidence.first_leg(), true), (Echo::Reply, false)),
        };
        let there = evidence.crossed(side, first.0, first.1);
        let back = evidence.crossed(side, second.0, second.1);
        let used = |(leg, inwards): (Echo, bool)| {
            let hop = if inwards { Hop::NetifIn } else { Hop::DevQueue };
            !super::ledger::seen_at(evidence.host(side), hop, leg).0.is_empty()
        };
        let redirected = evidence.host(side).other_devices.iter().any(|other| other.redirected);
        let differ =
            !redirected && there != back && evidence.mode == super::ProbeMode::Request && used(first) && used(second);
        differ.then(|| match side {
            Side::Local => format!(
                "requests left {} by {there}, and the replies came in by {back}: the way back differs",
                evidence.name(side)
            ),
            _ => format!(
                "requests came in to {} by {there}, and the replies left by {back}: the way back differs",
                evidence.name(side)
            ),
        })
    };
    sides.filter_map(one).collect()
}
