//! A stretch of the path that is carried: between two places the probes travel inside the packets of a tunnel, which have a
//! path of their own.
//!
//! That path is judged like any other: the packets that carry the probes are evidence of their own, with hops, drop events and
//! look-ups, and what stops them is what stops the probes.

mod evidence;
mod stops;

use std::collections::BTreeSet;

use probe_ebpf::{Echo, Hop};

pub(super) use self::stops::of_gap;
use super::{
    Evidence,
    document::{CarriedStretch, Diagnosis, Stop},
    ledger::{Gap, Ledger, LedgerRow},
    path::{Side, Station},
};
use crate::model::trace::PortTrace;

/// How evidence is judged: packets that carry probes are judged as the probes are.
#[derive(Clone, Copy)]
pub(super) struct Judge {
    /// Returns what all of it shows.
    pub(super) diagnose: fn(&Evidence) -> Diagnosis,
    /// Returns what stops the packets of a gap.
    pub(super) stop: fn(&Gap, &Evidence) -> Option<Stop>,
}

/// A stretch of the way that is carried, with what is known of the packets that carry the probes.
pub(super) struct Crossing {
    /// The last place before it.
    pub(super) from: Side,
    /// The first place after it; none: nobody watched there.
    pub(super) to: Option<Side>,
    /// What is known.
    pub(super) evidence: Evidence,
}

/// Returns every carried stretch of the way, in path order.
pub(super) fn crossings(ledger: &Ledger, evidence: &Evidence) -> Vec<Crossing> {
    if evidence.carried.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<Crossing> = Vec::new();
    for (index, pair) in ledger.rows.windows(2).enumerate() {
        let [before, after] = pair else { continue };
        let (from, to) = (before.step.checkpoint.host, after.step.checkpoint.host);
        let beyond = before.step.leg != after.step.leg && from == to && !evidence.loops_back();
        let Some(exit) = exit(before, evidence).filter(|_| from != to || beyond) else { continue };
        let passed = |at: usize| -> BTreeSet<u16> {
            ledger.furthest.iter().filter(|(_, last)| **last >= at).map(|(probe, _)| *probe).collect()
        };
        let to = (from != to).then_some(to);
        let (sent, received) = (passed(index), passed(index + 1));
        let known = evidence::Known { leg: before.step.leg, exit, from, to, sent, received };
        if let Some(outer) = evidence::of(&known, evidence) {
            found.push(Crossing { from, to: outer.to, evidence: outer.evidence });
        }
    }
    found
}

/// Returns the places in between that packets with probes inside came to, each with the leg and the interfaces.
pub(super) fn met(crossings: &[Crossing]) -> Vec<(Side, Echo, Vec<String>)> {
    let of_crossing = |crossing: &Crossing| {
        let outer = &crossing.evidence;
        let leg = outer.layer.as_ref().map_or(Echo::Request, |layer| layer.leg);
        let names = |ports: &[PortTrace]| ports.iter().map(|port| port.interface.clone()).collect::<Vec<_>>();
        let far = if leg == Echo::Request { outer.peer.as_ref() } else { Some(&outer.local) };
        let far = crossing.to.zip(far).map(|(side, far)| (side, leg, names(&far.ports)));
        let between = (0_u8..).zip(&outer.places).filter(|(_, place)| place.is_met());
        let between = between.map(|(number, place)| (Side::Via(number), leg, names(&place.ports)));
        between.chain(far).filter(|(side, ..)| matches!(side, Side::Via(_))).collect::<Vec<_>>()
    };
    crossings.iter().flat_map(of_crossing).collect()
}

/// Returns the interface by which probes leave their place behind this row; none where they do not.
fn exit<'a>(row: &LedgerRow, evidence: &'a Evidence) -> Option<&'a str> {
    let side = row.step.checkpoint.host;
    match row.step.checkpoint.station {
        Station::Hop(Hop::Xmit) => Some(evidence.crossed(side, row.step.leg, false)),
        Station::Port(Hop::Xmit, port) => Some(&evidence.place(side)?.ports.get(usize::from(port))?.interface),
        _ => None,
    }
}

/// Returns the stretches as a document has them.
pub(super) fn stretches(crossings: &[Crossing], judge: Judge) -> Vec<CarriedStretch> {
    let told = |crossing: &Crossing| {
        let layer = crossing.evidence.layer.as_ref()?;
        let path = (judge.diagnose)(&crossing.evidence);
        Some(CarriedStretch {
            leg: layer.leg,
            interface: layer.tunnel.interface.clone(),
            kind: layer.tunnel.kind.clone(),
            vni: layer.tunnel.vni,
            port: layer.tunnel.port,
            from: layer.from,
            to: layer.to,
            hops: path.hops.clone(),
            path: Box::new(path),
            before: crossing.from,
        })
    };
    crossings.iter().filter_map(told).collect()
}
