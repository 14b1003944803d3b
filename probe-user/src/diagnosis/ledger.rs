//! The ledger of a run: for each probe how far it came, and the gaps in which probes went missing.
//!
//! Unlike [`crate::ledger`], which knows only how many packets each checkpoint counted (other people's packets have no
//! number), this one follows each probe by itself. So it can't be fooled by one probe lost and another one doubled, and
//! the two are kept apart.

use std::collections::{BTreeMap, BTreeSet};

use probe_ebpf::{Family, Hop};

use super::{
    Evidence, ProbeMode,
    document::{BlindSpot, StopHost},
    names,
    path::{Checkpoint, PathStep, Requirement, Side, Station, journey},
    places::{DropLocation, between},
};
use crate::model::trace::{HopTrace, Leg};

/// Why a hop is blind whose host ran out of room.
const FULL: &str = "a map of this host had no room for all it saw";

/// One step of the way, and which probes it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// The step.
    pub step: PathStep,
    /// The probes that it counted.
    pub seen: BTreeSet<u16>,
    /// Probes that were there by another witness.
    pub proven: BTreeSet<u16>,
    /// Why its silence says nothing; none: it was watched.
    pub blind: Option<String>,
}

/// Every step of a run's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// In path order.
    pub rows: Vec<LedgerRow>,
    /// For each probe the last row that saw it.
    pub furthest: BTreeMap<u16, usize>,
    far: StopHost,
    family: Family,
}

/// Probes that were seen at one step and not at the next that could have seen them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The leg of the last step that saw them.
    pub leg: Leg,
    /// The leg of the first step that did not.
    pub missing_leg: Leg,
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

impl Ledger {
    /// The ledger of a run.
    pub fn new(evidence: &Evidence) -> Self {
        let rows: Vec<LedgerRow> = journey(evidence).into_iter().map(|step| row(evidence, step)).collect();
        let last = |probe: u16| {
            let there = |row: &LedgerRow| row.seen.contains(&probe) || row.proven.contains(&probe);
            rows.iter().rposition(there).unwrap_or(0)
        };
        let furthest = evidence.sending.probes.iter().map(|sent| (sent.probe, last(sent.probe))).collect();
        let far = if evidence.two_sided() || evidence.loops_back() { StopHost::Network } else { StopHost::Beyond };
        let family = if evidence.is_v6() { Family::V6 } else { Family::V4 };
        Self { rows, furthest, far, family }
    }

    /// Where probes went missing, in path order. A blind hop says nothing: it begins no gap and ends none. What may be
    /// passed by can begin one, never end one.
    pub fn gaps(&self) -> Vec<Gap> {
        let mut gaps: BTreeMap<(usize, usize), BTreeSet<u16>> = BTreeMap::new();
        for (probe, last) in &self.furthest {
            if let Some(first) = self.next_witness(*last) {
                gaps.entry((*last, first)).or_default().insert(*probe);
            }
        }
        gaps.into_iter().map(|((last, first), probes)| self.gap(last, first, probes)).collect()
    }

    /// The next row behind `last` whose silence means something.
    fn next_witness(&self, last: usize) -> Option<usize> {
        (last + 1..self.rows.len()).find(|index| {
            let row = &self.rows[*index];
            row.blind.is_none() && row.step.duty == Requirement::Must
        })
    }

    fn gap(&self, last: usize, first: usize, probes: BTreeSet<u16>) -> Gap {
        let blind = self.rows[last + 1..first].iter().filter(|row| row.step.duty == Requirement::Must);
        let blind =
            blind.filter_map(|row| row.blind.clone().map(|why| BlindSpot { checkpoint: row.step.checkpoint, why }));
        let pairs = self.rows[last..=first].windows(2);
        let lies_between = |pair: &[LedgerRow]| between(&pair[0].step, &pair[1].step, self.far, self.family);
        let mut spots: Vec<DropLocation> = pairs.flat_map(lies_between).collect();
        let mut known = BTreeSet::new();
        spots.retain(|spot| known.insert(*spot));
        Gap {
            leg: self.rows[last].step.leg,
            missing_leg: self.rows[first].step.leg,
            last_seen: self.rows[last].step.checkpoint,
            first_missing: self.rows[first].step.checkpoint,
            blind: blind.collect(),
            spots,
            probes,
        }
    }

    /// How many probes passed the row at `index`, by its own count or by that of any behind it.
    pub fn passed(&self, index: usize) -> usize {
        self.furthest.values().filter(|last| **last >= index).count()
    }

    /// How many probes came to the end of the way: read by the sender, or as far into the far end as was watched.
    pub fn arrived(&self) -> usize {
        let ends = |last: &usize| self.next_witness(*last).is_none();
        self.furthest.values().filter(|last| ends(last)).count()
    }

    /// Whether the end of the way was watched, so that arriving there is delivery.
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

fn row(evidence: &Evidence, step: PathStep) -> LedgerRow {
    let sent = || evidence.sending.probes.iter().map(|sent| sent.probe);
    let whole = |seen| LedgerRow { step, seen, proven: BTreeSet::new(), blind: None };
    match step.checkpoint.station {
        Station::Send => whole(sent().collect()),
        Station::Recv => whole(sent().filter(|probe| evidence.sending.received.contains_key(probe)).collect()),
        Station::Hop(hop) => hop_row(evidence, step, hop),
    }
}

fn hop_row(evidence: &Evidence, step: PathStep, hop: Hop) -> LedgerRow {
    let host = evidence.host(step.checkpoint.host);
    let mut proven = BTreeSet::new();
    if hop == Hop::IcmpIn {
        let events = host.drops.iter().filter(|drop| drop.leg == step.leg && names::shows_icmp(drop));
        proven.extend(events.filter_map(|drop| drop.probe));
    }
    let (seen, blind) = match host.hop(hop) {
        HopTrace::Blind { why } => (BTreeSet::new(), Some(why)),
        HopTrace::Watched { requests, replies } => {
            let steps = if step.leg == Leg::Request { requests } else { replies };
            let full = host.accounting.maps_full > 0;
            (steps.into_keys().collect(), full.then(|| FULL.to_owned()))
        }
    };
    let sent = |probe: &u16| evidence.probe(*probe).is_some();
    LedgerRow { step, seen: seen.into_iter().filter(|probe| sent(probe)).collect(), proven, blind }
}
