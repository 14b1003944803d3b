//! The ledger of a run: for each probe how far it came, and the gaps in which probes went missing.
//!
//! It follows each probe by itself, so it can't be fooled by one probe lost and another one doubled. What its rows
//! stand for is up to the caller: the hops of two kernels in a diagnosis, the NICs of every host on the way in an
//! experiment of the lab.

use probe_ebpf::Echo;
use std::collections::{BTreeMap, BTreeSet};

use probe_ebpf::{Family, Hop};

use super::{
    Evidence, ProbeMode, between,
    document::BlindSpot,
    followed, names,
    path::{ANY_PORT, Checkpoint, PathStep, Requirement, Side, Station, journey},
    places::{DropLocation, DropPoint, Whose, lies_between},
};
use crate::model::trace::{Finding, HopTrace, HostTrace, ProgramSite};

/// Why a hop is blind if its host ran out of room.
const FULL: &str = "a map of this host had no room for all it saw";

/// Why the hop of a place that is known only by its drop events is blind.
const ONLY_DROPS: &str = "no device there saw them; only drop events show that they came there";

/// What a row of a ledger stands for.
pub trait Watched {
    /// Returns what the row's silence means.
    fn duty(&self) -> Requirement;
}

impl Watched for PathStep {
    fn duty(&self) -> Requirement {
        self.duty
    }
}

/// One step of the way, and which probes it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow<S = PathStep> {
    /// The step.
    pub step: S,
    /// The probes that it counted.
    pub seen: BTreeSet<u16>,
    /// Probes that another witness shows to have been there.
    pub proven: BTreeSet<u16>,
    /// Why its silence says nothing; none: it was watched.
    pub blind: Option<String>,
}

/// Every step of a run's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger<S = PathStep> {
    /// In path order.
    pub rows: Vec<LedgerRow<S>>,
    /// For each probe the last row that saw it.
    pub furthest: BTreeMap<u16, usize>,
}

/// Two rows between which probes went missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The index of the last row that saw them.
    pub last: usize,
    /// The index of the first row that watched and did not see them.
    pub first: usize,
    /// Which probes.
    pub probes: BTreeSet<u16>,
}

/// Probes that were seen at one step, but not at the next one that could have seen them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The leg of the last step that saw them.
    pub leg: Echo,
    /// The leg of the first step that did not.
    pub missing_leg: Echo,
    /// The last that saw them.
    pub last_seen: Checkpoint,
    /// The first that watched and did not see them.
    pub first_missing: Checkpoint,
    /// The blind hops in between; never one of the two.
    pub blind: Vec<BlindSpot>,
    /// Where they can have died, in path order.
    pub spots: Vec<DropLocation>,
    /// Which probes.
    pub probes: BTreeSet<u16>,
}

impl<S: Watched> Ledger<S> {
    /// Returns the ledger of the probes `sent` over a way with these rows. A probe that no row saw is at the first.
    pub fn over(rows: Vec<LedgerRow<S>>, sent: impl IntoIterator<Item = u16>) -> Self {
        let last = |probe: u16| {
            let there = |row: &LedgerRow<S>| row.seen.contains(&probe) || row.proven.contains(&probe);
            rows.iter().rposition(there).unwrap_or(0)
        };
        let furthest = sent.into_iter().map(|probe| (probe, last(probe))).collect();
        Self { rows, furthest }
    }

    /// Returns between which rows probes went missing, in path order. A blind hop says nothing: it begins no gap and
    /// ends none. A hop that probes may bypass can begin one, never end one.
    pub fn stretches(&self) -> Vec<Stretch> {
        let mut stretches: BTreeMap<(usize, usize), BTreeSet<u16>> = BTreeMap::new();
        for (probe, last) in &self.furthest {
            if let Some(first) = self.next_witness(*last) {
                stretches.entry((*last, first)).or_default().insert(*probe);
            }
        }
        stretches.into_iter().map(|((last, first), probes)| Stretch { last, first, probes }).collect()
    }

    /// Returns the rows of a stretch that could not be watched and whose silence would have meant something, with the
    /// reason.
    pub fn blind_between(&self, stretch: &Stretch) -> impl Iterator<Item = (&S, &str)> {
        let between = self.rows[stretch.last + 1..stretch.first].iter();
        let must = between.filter(|row| row.step.duty() == Requirement::Must);
        must.filter_map(|row| Some((&row.step, row.blind.as_deref()?)))
    }

    /// Returns the next row after `last` whose silence means something.
    fn next_witness(&self, last: usize) -> Option<usize> {
        (last + 1..self.rows.len()).find(|index| {
            let row = &self.rows[*index];
            row.blind.is_none() && row.step.duty() == Requirement::Must
        })
    }

    /// Counts how many probes passed the row at `index`, by its own count or by that of any after it.
    pub fn passed(&self, index: usize) -> usize {
        self.furthest.values().filter(|last| **last >= index).count()
    }

    /// Counts how many probes reached the end of the way: read by the sender, or as far into the far end as was
    /// watched.
    pub fn arrived(&self) -> usize {
        let ends = |last: &usize| self.next_witness(*last).is_none();
        self.furthest.values().filter(|last| ends(last)).count()
    }
}

impl Ledger {
    /// Returns the ledger of a run.
    pub fn new(evidence: &Evidence) -> Self {
        let rows = journey(evidence).into_iter().map(|step| row(evidence, step)).collect();
        Self::over(rows, evidence.sending.probes.iter().map(|sent| sent.probe))
    }

    /// Returns where probes of the run that `evidence` is of went missing, in path order.
    pub fn gaps(&self, evidence: &Evidence) -> Vec<Gap> {
        self.stretches().into_iter().map(|stretch| self.gap(stretch, evidence)).collect()
    }

    fn gap(&self, stretch: Stretch, evidence: &Evidence) -> Gap {
        let far = if evidence.two_sided() || evidence.loops_back() { Whose::Network } else { Whose::Beyond };
        let family = if evidence.is_v6() { Family::V6 } else { Family::V4 };
        let blind = self.blind_between(&stretch);
        let blind = blind.map(|(step, why)| BlindSpot { checkpoint: step.checkpoint, why: why.to_owned() }).collect();
        let Stretch { last, first, probes } = stretch;
        let pairs = self.rows[last..=first].windows(2);
        let is_port = |row: &LedgerRow| matches!(row.step.checkpoint.station, Station::Port(..));
        let of_pair = |pair: &[LedgerRow]| match pair {
            [from, to] if is_port(from) || is_port(to) => between::spots(evidence, &from.step, &to.step, far),
            [from, to] => lies_between(&from.step, &to.step, far, family),
            _ => Vec::new(),
        };
        let mut spots: Vec<DropLocation> = pairs.flat_map(of_pair).collect();
        let mut known = BTreeSet::new();
        spots.retain(|spot| known.insert(*spot) && !lacks_xdp(*spot, evidence));
        Gap {
            leg: self.rows[last].step.leg,
            missing_leg: self.rows[first].step.leg,
            last_seen: self.rows[last].step.checkpoint,
            first_missing: self.rows[first].step.checkpoint,
            blind,
            spots,
            probes,
        }
    }

    /// Reports whether the end of the way was watched, so that arriving there is delivery.
    pub fn sees_the_end(&self, evidence: &Evidence) -> bool {
        let far = if evidence.two_sided() { Side::Peer } else { Side::Local };
        let inside = |row: &LedgerRow| {
            row.step.checkpoint.host == far
                && row.blind.is_none()
                && matches!(row.step.checkpoint.station,
                Station::Hop(hop) if hop >= Hop::XdpIn)
        };
        evidence.mode == ProbeMode::Request || self.rows.iter().any(inside)
    }
}

/// Reports whether a place in between was looked into and has no XDP program, before which its hops would not see
/// packets.
fn lacks_xdp(spot: DropLocation, evidence: &Evidence) -> bool {
    let looked_into = |side: &Side| evidence.place(*side).is_some() || evidence.layer.is_some();
    let Some(side) = spot.side().filter(|side| spot.place == DropPoint::Xdp && looked_into(side)) else {
        return false;
    };
    let program = |finding: &Finding| matches!(finding, Finding::Program { at: ProgramSite::Xdp, .. });
    evidence.findings(side).next().is_some() && !evidence.findings(side).any(program)
}

/// Returns which probes `hop` of a host saw on a leg, and why its silence says nothing, if so.
pub fn seen_at(host: &HostTrace, hop: Hop, leg: Echo) -> (BTreeSet<u16>, Option<String>) {
    match host.hop(hop) {
        HopTrace::Blind { why } => (BTreeSet::new(), Some(why)),
        HopTrace::Watched { requests, replies } => {
            let steps = if leg == Echo::Request { requests } else { replies };
            let full = host.accounting.maps_full > 0;
            (steps.into_keys().collect(), full.then(|| FULL.to_owned()))
        }
    }
}

fn row(evidence: &Evidence, step: PathStep) -> LedgerRow {
    let sent = || evidence.sending.probes.iter().map(|sent| sent.probe);
    let whole = |seen| LedgerRow { step, seen, proven: BTreeSet::new(), blind: None };
    match step.checkpoint.station {
        Station::Send | Station::Encap => whole(sent().collect()),
        Station::Decap => whole(sent().filter(|probe| evidence.sending.received.contains_key(probe)).collect()),
        Station::Recv => match followed::way::blind_at_the_end(evidence) {
            Some(why) => LedgerRow { blind: Some(why), ..whole(BTreeSet::new()) },
            None => whole(sent().filter(|probe| evidence.sending.received.contains_key(probe)).collect()),
        },
        Station::Hop(hop) => hop_row(evidence, step, hop),
        Station::Port(hop, port) => port_row(evidence, step, hop, port),
    }
}

fn hop_row(evidence: &Evidence, step: PathStep, hop: Hop) -> LedgerRow {
    let host = evidence.host(step.checkpoint.host);
    let mut proven = BTreeSet::new();
    if hop == Hop::IcmpIn {
        let events = host.drops.iter().filter(|drop| drop.leg == step.leg && names::shows_icmp(drop));
        proven.extend(events.filter_map(|drop| drop.probe));
    }
    let (seen, mut blind) = seen_at(host, hop, step.leg);
    let inwards = matches!(hop, Hop::XdpIn | Hop::TcIn);
    if (inwards || hop == Hop::TcOut) && seen.is_empty() && blind.is_none() {
        let other = evidence.other_device(step.checkpoint.host, step.leg, inwards);
        // Redirected packets were for this device, and whatever comes before it saw them.
        blind = other
            .filter(|other| !other.redirected)
            .map(|other| format!("they went through {}, where it is not attached", other.interface));
    }
    let sent = |probe: &u16| evidence.probe(*probe).is_some();
    LedgerRow { step, seen: seen.into_iter().filter(|probe| sent(probe)).collect(), proven, blind }
}

/// Returns the row of a step at an interface of a place in between.
fn port_row(evidence: &Evidence, step: PathStep, hop: Hop, port: u8) -> LedgerRow {
    let side = step.checkpoint.host;
    let (seen, mut blind) = between::seen_at(evidence, side, hop, port, step.leg);
    let sent = |probe: &u16| evidence.probe(*probe).is_some();
    let mut proven = BTreeSet::new();
    if port == ANY_PORT && hop == Hop::NetifIn {
        let freed = evidence.drops(side).iter().filter(|drop| drop.leg == step.leg);
        proven.extend(freed.filter_map(|drop| drop.probe).filter(sent));
        if step.duty == Requirement::May {
            blind = Some(ONLY_DROPS.to_owned());
        }
    }
    LedgerRow { step, seen: seen.into_iter().filter(sent).collect(), proven, blind }
}

#[cfg(test)]
mod tests;
