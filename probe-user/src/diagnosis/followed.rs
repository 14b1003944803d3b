//! Evidence of echoes that other programs sent: who sent them, and what became of each, from what this host's hops saw.
//!
//! Neither their send calls nor what the programs read is known. So a request counts as sent at the time of the first
//! hop, and as answered once its reply has reached the sockets of this host. An unanswered request counts as lost only
//! after the wait for a reply; until then it is still under way, and not part of the evidence.

pub mod flows;
pub(super) mod way;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use probe_ebpf::{Echo, Hop};
use serde::{Deserialize, Serialize};

use self::flows::{FollowedFlow, FollowedRole, FollowedRun};
use super::{Evidence, Target, document::Stop};
use crate::model::{
    followed::FollowedEcho,
    trace::{
        Drop, HopTrace, HostTrace, IcmpError, PlaceTrace, ProbePassage, Received, SenderTrace, SentProbe,
        benign::may_have_arrived, plain_function,
    },
};

/// What evidence of others' echoes has in addition to that of a run's own probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Following {
    /// What this host is to them.
    pub role: FollowedRole,
    /// Whether it is known that the program's socket refused replies: then the program's reading is watched to that
    /// extent.
    pub refused_by_socket: bool,
    /// The report on the run.
    pub run: FollowedRun,
}

/// What became of one echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its reply went as far as this host takes it.
    Answered(ProbePassage),
    /// Its reply was refused by the very socket that it was for.
    Refused,
    /// It was seen to be freed, or an ICMP error reported it.
    Ended,
    /// Nothing is known, and it may still be answered.
    UnderWay,
    /// Its TTL ran out at a router on purpose: the program raises it step by step along the way.
    Walked,
    /// Nothing came in before the wait was over.
    Lost,
}

/// What this host saw of all echoes, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// Its hops and drops.
    pub host: &'a HostTrace,
    /// ICMP errors that quoted one.
    pub errors: &'a [IcmpError],
    /// `CLOCK_MONOTONIC` in nanoseconds when it was looked at.
    pub until_ns: u64,
    /// How long a reply is waited for, in nanoseconds.
    pub wait_ns: u64,
}

/// Where a reply that is for this host ends before its sockets, the last hop first.
const INTO_HOST: [Hop; 9] = [
    Hop::IcmpIn,
    Hop::SocketIn,
    Hop::NfInputLast,
    Hop::NfInputFirst,
    Hop::NfPreroutingLast,
    Hop::NfPreroutingFirst,
    Hop::TcIn,
    Hop::NetifIn,
    Hop::XdpIn,
];

/// Where a packet leaves this host, the last hop first.
const OUT_OF_HOST: [Hop; 4] = [Hop::Xmit, Hop::DevQueue, Hop::NfPostroutingLast, Hop::NfPostroutingFirst];

impl Sight<'_> {
    /// Returns what became of each echo of a flow.
    pub fn fates<'f>(&self, flow: &'f FollowedFlow) -> Vec<(&'f FollowedEcho, Fate)> {
        let ttls: BTreeSet<u8> = flow.echoes.iter().filter_map(|echo| self.first_ttl(echo)).collect();
        let expired =
            |echo: &FollowedEcho| self.errors.iter().any(|error| error.probe == echo.number && error.tells_expiry());
        let walked = |echo: &FollowedEcho, fate: Fate| fate == Fate::Ended && ttls.len() > 1 && expired(echo);
        let of = |echo| match self.fate(echo, flow.role) {
            fate if walked(echo, fate) => (echo, Fate::Walked),
            fate => (echo, fate),
        };
        flow.echoes.iter().map(of).collect()
    }

    /// Returns the TTL with which a request was first seen.
    fn first_ttl(&self, echo: &FollowedEcho) -> Option<u8> {
        let seen = self.host.hops.values().filter_map(|hop| hop.seen(Echo::Request)?.get(&echo.number));
        seen.min_by_key(|passage| passage.first_ns).map(|passage| passage.ttl)
    }

    /// Returns what became of an echo to which this host has that role.
    pub fn fate(&self, echo: &FollowedEcho, role: FollowedRole) -> Fate {
        let freed = |drop: &&Drop| drop.probe == Some(echo.number) && !may_have_arrived(drop);
        if let Some(end) = self.end_of_reply(echo, role) {
            let at_socket =
                |drop: &&Drop| drop.leg == Echo::Reply && plain_function(&drop.function).starts_with("ping_");
            let refused = echo.by_ping_socket && role == FollowedRole::Sender;
            let refused = refused && self.host.drops.iter().filter(freed).any(|drop| at_socket(&drop));
            return if refused { Fate::Refused } else { Fate::Answered(end) };
        }
        let elsewhere = self.host.places.iter().flat_map(|place| &place.drops);
        let freed = self.host.drops.iter().chain(elsewhere).any(|drop| freed(&drop));
        let told = self.errors.iter().any(|error| error.probe == echo.number && error.ends_packet());
        match self.until_ns.saturating_sub(echo.first_ns) {
            _ if freed || told => Fate::Ended,
            waited if waited < self.wait_ns => Fate::UnderWay,
            _ => Fate::Lost,
        }
    }

    /// Returns the last passage of a reply that this host could see, if it saw it.
    fn end_of_reply(&self, echo: &FollowedEcho, role: FollowedRole) -> Option<ProbePassage> {
        let hops: &[Hop] = if role == FollowedRole::Sender { &INTO_HOST } else { &OUT_OF_HOST };
        for hop in hops {
            let seen = self.host.hops.get(hop).and_then(|trace| trace.seen(Echo::Reply));
            if let Some(passage) = seen.and_then(|seen| seen.get(&echo.number)) {
                return Some(*passage);
            }
            // A reply may bypass these two; the silence of a hop that nothing bypasses is an answer.
            if seen.is_some() && !matches!(hop, Hop::IcmpIn | Hop::SocketIn) {
                return None;
            }
        }
        None
    }
}

/// Returns the evidence of one flow of echoes, from what this host saw of all of them.
pub fn evidence(flow: &FollowedFlow, sight: Sight<'_>, host: HostTrace, run: FollowedRun) -> Evidence {
    let fates = sight.fates(flow);
    let settled = fates.iter().filter(|(_, fate)| !matches!(fate, Fate::UnderWay | Fate::Walked));
    let numbers: BTreeSet<u16> = settled.clone().map(|(echo, _)| echo.number).collect();
    let probes = settled.clone().map(|(echo, _)| SentProbe {
        probe: echo.number,
        id: echo.id,
        seq: echo.seq,
        sent_ns: echo.first_ns,
        errno: None,
    });
    let received = settled.filter_map(|(echo, fate)| match fate {
        Fate::Answered(end) => Some((echo.number, received(*end, echo))),
        _ => None,
    });
    let sending = SenderTrace {
        probes: probes.collect(),
        received: received.collect(),
        errors: sight.errors.iter().filter(|error| numbers.contains(&error.probe)).cloned().collect(),
        ..SenderTrace::default()
    };
    let target = Target { name: flow.to.to_string(), address: flow.to };
    let mut local = only(host, &numbers, (flow.from, flow.to));
    local.host.address = match flow.role {
        FollowedRole::Sender => Some(flow.from),
        FollowedRole::Target => Some(flow.to),
        FollowedRole::Router => None,
    };
    let refused_by_socket = fates.iter().any(|(_, fate)| *fate == Fate::Refused);
    let following = Following { role: flow.role, refused_by_socket, run };
    Evidence { following: Some(following), ..Evidence::new(target, sending, local) }.gathered()
}

/// Returns the sentence if there is no echo left to report on.
pub(super) fn nothing(following: &Following) -> String {
    let open: usize = following.run.flows.iter().map(|flow| flow.under_way).sum();
    let seconds = following.run.watched_ms as f64 / 1e3;
    match open {
        0 if following.run.of_command => format!(
            "The command sent no echo request in {seconds:.1} s: either it pinged nobody, or its calls were refused, as it may \
             have printed."
        ),
        0 => format!("No echo request was seen in {seconds:.1} s, so nothing is known."),
        1 => "The only echo request that was seen may still be answered, so nothing is known yet.".to_owned(),
        open => format!("All {open} echo requests that were seen may still be answered, so nothing is known yet."),
    }
}

/// Leaves out commands that would send probes if other hosts' echoes stop on the way to this one: from here they would
/// take another way.
pub(super) fn leave_out_own_probes(stop: &mut Stop, evidence: &Evidence) {
    if evidence.following.as_ref().is_some_and(|following| following.role == FollowedRole::Target) {
        stop.commands.retain(|command| !command.command.starts_with("probe diagnose"));
    }
}

fn received(end: ProbePassage, echo: &FollowedEcho) -> Received {
    let from = end.source.filter(|source| !source.is_unspecified()).unwrap_or(echo.far);
    Received { time_ns: end.first_ns, from, id: end.id, ttl: end.ttl, times: 1, altered: None, bad_checksum: false }
}

/// Returns what a host saw of these echoes, between the `near` and the `far` end.
fn only(mut host: HostTrace, numbers: &BTreeSet<u16>, (near, far): (IpAddr, IpAddr)) -> HostTrace {
    host.renumber(|number| numbers.contains(&number).then_some(number));
    host.hops.values_mut().for_each(|hop| expect(hop, (near, far)));
    host.drops.retain(|drop| drop.probe.is_some());
    for place in &mut host.places {
        place.drops.retain(|drop| drop.probe.is_some());
    }
    host.places.retain(met);
    host
}

/// Reports whether a place met any of the echoes.
fn met(place: &PlaceTrace) -> bool {
    let some =
        |hop: &HopTrace| [Echo::Request, Echo::Reply].iter().any(|leg| hop.seen(*leg).is_some_and(|it| !it.is_empty()));
    !place.drops.is_empty() || place.ports.iter().any(|port| port.hops.values().any(some))
}

/// Keeps only the unexpected ones of the addresses that a hop saw.
fn expect(hop: &mut HopTrace, (near, far): (IpAddr, IpAddr)) {
    let HopTrace::Watched { requests, replies } = hop else { return };
    let expected = |seen: &mut BTreeMap<u16, ProbePassage>, (from, to): (IpAddr, IpAddr)| {
        for passage in seen.values_mut() {
            passage.source = passage.source.filter(|source| *source != from);
            passage.destination = passage.destination.filter(|destination| *destination != to);
        }
    };
    expected(requests, (near, far));
    expected(replies, (far, near));
}

#[cfg(test)]
mod tests;
