//! A stretch of the path that is carried: between two places the probes travel inside the packets of a tunnel, which have a
//! path of their own.
//!
//! That path is judged like any other: the packets that carry the probes are evidence of their own, with hops, drop events and
//! look-ups, and what stops them is what stops the probes.

mod evidence;
mod stops;

use std::{collections::BTreeSet, net::IpAddr};

use probe_ebpf::{Echo, Hop};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use self::stops::of_gap;
use super::{
    Diagnosis, Evidence, between,
    document::HopState,
    ledger::{Ledger, LedgerRow},
    station::{PathStep, Requirement, Side, Station, step},
    verdict,
};
use crate::model::trace::{PortTrace, TunnelFacts};

/// Which stretch of the path the packets of a tunnel are on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedLayer {
    /// The leg of the probes inside.
    pub leg: Echo,
    /// The device that puts them into others.
    pub tunnel: TunnelFacts,
    /// The device that takes them out, where that host was watched.
    pub far: Option<TunnelFacts>,
    /// From where.
    pub from: Option<IpAddr>,
    /// To whom.
    pub to: Option<IpAddr>,
    /// The link-layer address to which the frames inside are sent, where that is known.
    pub lladdr: Option<String>,
}

/// A carried stretch of the path.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CarriedStretch {
    /// The leg of the probes inside.
    pub leg: Echo,
    /// The device of the tunnel where the probes go into it.
    pub interface: String,
    /// Its kind, e.g. `vxlan`.
    pub kind: String,
    /// Its number: the VNI of VXLAN and Geneve, the key of GRE.
    pub vni: Option<u32>,
    /// The UDP port to which its packets go.
    pub port: Option<u16>,
    /// The source address of the packets that carry the probes.
    pub from: Option<IpAddr>,
    /// Their destination address.
    pub to: Option<IpAddr>,
    /// Every hop of these packets, in path order.
    pub hops: Vec<HopState>,
    /// Their path as a diagnosis of its own.
    #[serde(skip)]
    pub path: Box<Diagnosis>,
    /// The last place before the stretch.
    #[serde(skip)]
    pub before: Side,
}

/// A stretch of the way that is carried, with what is known of the packets that carry the probes.
pub(super) struct Crossing {
    /// The last place before it.
    pub(super) from: Side,
    /// The first place behind it; none: nobody watched there.
    pub(super) to: Option<Side>,
    /// What is known.
    pub(super) evidence: Evidence,
}

/// Returns every carried stretch of the way, in path order.
pub(super) fn crossings(ledger: &Ledger, evidence: &Evidence) -> Vec<Crossing> {
    if evidence.carried.is_empty() || evidence.layer.is_some() {
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
pub(super) fn stretches(crossings: &[Crossing]) -> Vec<CarriedStretch> {
    let told = |crossing: &Crossing| {
        let layer = crossing.evidence.layer.as_ref()?;
        let path = verdict::diagnose(&crossing.evidence);
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

/// The way out of a host. Programs at the device that carries the tunnel are not watched: May, and blind.
const OUT: [(Hop, Requirement); 8] = [
    (Hop::NfOutputFirst, Requirement::Must),
    (Hop::NfOutputLast, Requirement::Must),
    (Hop::NfPostroutingFirst, Requirement::Must),
    (Hop::NfPostroutingLast, Requirement::Must),
    (Hop::CgroupOut, Requirement::May),
    (Hop::TcOut, Requirement::May),
    (Hop::DevQueue, Requirement::Must),
    (Hop::Xmit, Requirement::Must),
];

/// The way into a host, up to the socket of the tunnel.
const IN: [(Hop, Requirement); 7] = [
    (Hop::XdpIn, Requirement::May),
    (Hop::NetifIn, Requirement::Must),
    (Hop::TcIn, Requirement::May),
    (Hop::NfPreroutingFirst, Requirement::Must),
    (Hop::NfPreroutingLast, Requirement::Must),
    (Hop::NfInputFirst, Requirement::Must),
    (Hop::NfInputLast, Requirement::Must),
];

impl CarriedLayer {
    /// Returns every step of the packets that carry the probes, from the device that makes them to the one that opens them.
    pub(super) fn journey(&self, evidence: &Evidence) -> Vec<PathStep> {
        let ends = match (self.leg, evidence.two_sided()) {
            (Echo::Request, true) => [Side::Local, Side::Peer],
            (Echo::Reply, true) => [Side::Peer, Side::Local],
            (_, false) => [Side::Local; 2],
        };
        let back = if evidence.two_sided() { self.leg } else { Echo::Reply };
        let hops = |leg: Echo, side: Side, hops: &[(Hop, Requirement)]| -> Vec<PathStep> {
            hops.iter().map(|(hop, duty)| step(leg, side, Station::Hop(*hop), *duty)).collect()
        };
        let mut steps = vec![step(self.leg, ends[0], Station::Encap, Requirement::Must)];
        steps.extend(hops(self.leg, ends[0], &OUT));
        steps.extend(between::steps(evidence, self.leg));
        if back != self.leg {
            steps.extend(between::steps(evidence, back));
        }
        steps.extend(hops(back, ends[1], &IN));
        steps.push(step(back, ends[1], Station::Decap, Requirement::Must));
        steps
    }

    /// Returns the same for the packets that come back.
    pub(super) fn back(&self) -> Self {
        Self { from: self.to, to: self.from, ..self.clone() }
    }

    /// Returns `flannel.1 (192.168.6.1 to 192.168.6.2, VNI 1)`.
    pub(super) fn name(&self) -> String {
        let mut facts = Vec::new();
        if let (Some(from), Some(to)) = (self.from, self.to) {
            facts.push(format!("{from} to {to}"));
        }
        if let Some(vni) = self.tunnel.vni {
            facts.push(format!("{} {vni}", self.tunnel.number_word()));
        }
        let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
        format!("{}{facts}", self.tunnel.interface)
    }
}
