//! What each NIC on the path saw of an experiment's packets, and between which two of them packets were lost.

use probe_ebpf::Echo;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use probe_ebpf::Hop;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    plan::ExperimentPlan,
    script::{Expect, Script, ScriptStep},
};
use crate::{
    diagnosis::{
        ledger::{Ledger, LedgerRow, Stretch, Watched, seen_at},
        path::{Requirement, Station},
    },
    middlebox::timeline::{Endpoint, PlayedTimeline, TimelinePacket},
    model::{trace::HostTrace, verdict::Confidence},
};

/// A NIC on the path, and what it saw.
#[derive(Clone, Copy, Debug)]
pub struct WayNic<'a> {
    /// The name of its host.
    pub host: &'a str,
    /// What was seen there.
    pub trace: &'a HostTrace,
}

/// A run of an experiment, and the NICs that its packets pass.
#[derive(Clone, Debug)]
pub struct Way<'a> {
    /// The experiment.
    pub script: &'a Script,
    /// What was to be sent.
    pub plan: &'a ExperimentPlan,
    /// The outcome of it.
    pub run: &'a PlayedTimeline,
    /// The NICs, from the near end to the far one: packets of the near end leave by the first, enter by the second, leave by
    /// the third, and so on.
    pub nics: Vec<WayNic<'a>>,
}

/// A point on the path at which packets are counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WayPoint {
    /// The host.
    pub host: String,
    /// What counts there.
    #[serde(rename = "hop")]
    pub station: Station,
    /// The interface; `None` for the call that sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// What was counted of the packets of one kind with one id in one repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The name of the id.
    pub id_name: String,
    /// The id.
    pub id: u16,
    /// Requests or replies.
    pub leg: Echo,
    /// The end that sends them.
    pub from: Endpoint,
    /// The call that sends, then each NIC in the order in which packets pass it.
    pub ledger: Ledger<WayPoint>,
    /// How many packets each step was to send, and what the script expects of them.
    pub planned: Vec<(Expect, usize)>,
}

/// Packets that one point on the path counted, and the next one that could have did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WayStop {
    /// The host in which they stopped; `network`: they left one host and did not enter the next.
    pub host: String,
    /// How many.
    pub packets: usize,
    /// The last point that counted them.
    pub last_seen: WayPoint,
    /// The first that watched and did not.
    pub first_missing: WayPoint,
    /// `certain`, unless something between the two is blind.
    pub confidence: Confidence,
    /// What lies between the two and could not be watched.
    pub blind: Vec<BlindPoint>,
}

/// A point on the path that could not be watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BlindPoint {
    /// Where.
    #[serde(flatten)]
    pub point: WayPoint,
    /// Why.
    pub why: String,
}

impl WayPoint {
    /// Returns where the NIC is, such as `fw:b`, or only the host, without the hook that counts there.
    pub fn place(&self) -> String {
        self.interface.as_ref().map_or_else(|| self.host.clone(), |interface| format!("{}:{interface}", self.host))
    }
}

impl fmt::Display for WayPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.place(), self.station.name())
    }
}

impl Watched for WayPoint {
    fn duty(&self) -> Requirement {
        Requirement::Must
    }
}

impl Way<'_> {
    /// Returns the counts for each id: requests before replies, the ids in the order in which the script names them.
    pub fn lines(&self) -> Vec<Line> {
        let mut names: Vec<&str> = Vec::new();
        for (_, sends) in self.script.sends() {
            if !names.contains(&sends.id.as_str()) {
                names.push(&sends.id);
            }
        }
        let kinds =
            [Echo::Request, Echo::Reply].into_iter().flat_map(|leg| [(leg, Endpoint::Near), (leg, Endpoint::Far)]);
        let kinds: Vec<(Echo, Endpoint)> = kinds.collect();
        let mut lines = Vec::new();
        for (repetition, ids) in (0..).zip(&self.plan.ids) {
            for (name, (leg, from)) in names.iter().flat_map(|name| kinds.iter().map(move |kind| (*name, *kind))) {
                lines.extend(self.line(repetition, (name, ids), leg, from));
            }
        }
        lines
    }

    /// Returns where on the path packets of a step were lost in all repetitions, most packets first.
    pub fn stops_of(&self, step: usize) -> Vec<WayStop> {
        let packets = self.packets(|packet| self.plan.origins[packet].step == step);
        let Some((_, first)) = packets.first_key_value() else { return Vec::new() };
        let (leg, from) = (first.leg, first.from);
        let planned: BTreeSet<u16> = packets.into_keys().collect();
        stops(&self.ledger(from, leg, &planned, &BTreeSet::new()))
    }

    fn line(
        &self,
        repetition: u16,
        (name, ids): (&str, &BTreeMap<String, u16>),
        leg: Echo,
        from: Endpoint,
    ) -> Option<Line> {
        let named = self.packets(|packet| {
            let origin = self.plan.origins[packet];
            origin.repetition == repetition && self.id_name(origin.step) == Some(name)
        });
        let of = |leg: Echo, from: Endpoint| -> BTreeMap<u16, StepPacket> {
            named
                .iter()
                .filter(|(_, packet)| (packet.leg, packet.from) == (leg, from))
                .map(|(n, packet)| (*n, *packet))
                .collect()
        };
        let planned = of(leg, from);
        // A reply that carries the mark of a request is an answer that nobody planned.
        let unplanned = if leg == Echo::Reply { of(Echo::Request, from.other()) } else { BTreeMap::new() };
        let (ours, strays) = (planned.keys().copied().collect(), unplanned.into_keys().collect());
        let ledger = self.ledger(from, leg, &ours, &strays);
        if planned.is_empty() && ledger.rows.iter().all(|row| row.seen.is_empty()) {
            return None;
        }
        let mut by_step: BTreeMap<usize, usize> = BTreeMap::new();
        planned.values().for_each(|packet| *by_step.entry(packet.step).or_default() += 1);
        let planned = by_step.into_iter().filter_map(|(step, count)| Some((self.expect(step)?, count))).collect();
        let id = ids.get(name).copied().unwrap_or_default();
        Some(Line { id_name: name.to_owned(), id, leg, from, ledger, planned })
    }

    /// Returns the echo packets for which `wanted` holds, by number.
    fn packets(&self, wanted: impl Fn(usize) -> bool) -> BTreeMap<u16, StepPacket> {
        let packets = self.plan.timeline.packets.iter().enumerate().filter(|(number, _)| wanted(*number));
        let echo = |(number, packet): (usize, &crate::middlebox::timeline::TimedPacket)| {
            let leg = match packet.message {
                TimelinePacket::Request => Echo::Request,
                TimelinePacket::Reply => Echo::Reply,
                TimelinePacket::Error(_) => return None,
            };
            let step = self.plan.origins[number].step;
            Some((u16::try_from(number).ok()?, StepPacket { leg, from: packet.from, step }))
        };
        packets.filter_map(echo).collect()
    }

    fn id_name(&self, step: usize) -> Option<&str> {
        match &self.script.steps[step] {
            ScriptStep::Send(sends) => Some(&sends.id),
            ScriptStep::Wait(_) => None,
        }
    }

    fn expect(&self, step: usize) -> Option<Expect> {
        match &self.script.steps[step] {
            ScriptStep::Send(sends) => Some(sends.expect),
            ScriptStep::Wait(_) => None,
        }
    }

    /// Returns what each NIC saw of the packets `ours`, and of `strays`, which the script did not send.
    fn ledger(&self, from: Endpoint, leg: Echo, ours: &BTreeSet<u16>, strays: &BTreeSet<u16>) -> Ledger<WayPoint> {
        let nics: Vec<&WayNic<'_>> = match from {
            Endpoint::Near => self.nics.iter().collect(),
            Endpoint::Far => self.nics.iter().rev().collect(),
        };
        let was_sent = |packet: &u16| self.run.deliveries[usize::from(*packet)].sent_at().is_some();
        let sent: BTreeSet<u16> = ours.iter().copied().filter(was_sent).collect();
        let sender = nics.first().map_or_else(String::new, |nic| nic.host.to_owned());
        let send = WayPoint { host: sender, station: Station::Send, interface: None };
        let mut rows = vec![LedgerRow { step: send, seen: sent.clone(), proven: BTreeSet::new(), blind: None }];
        for (place, nic) in nics.into_iter().enumerate() {
            let hop = if place % 2 == 0 { Hop::TcOut } else { entry(nic.trace) };
            let (mut seen, blind) = seen_at(nic.trace, hop, leg);
            seen.retain(|probe| ours.contains(probe) || strays.contains(probe));
            let (host, interface) = (nic.host.to_owned(), Some(nic.trace.host.interface.clone()));
            let step = WayPoint { host, station: Station::Hop(hop), interface };
            rows.push(LedgerRow { step, seen, proven: BTreeSet::new(), blind });
        }
        Ledger::over(rows, sent)
    }
}

/// An echo packet of the plan.
#[derive(Clone, Copy)]
struct StepPacket {
    leg: Echo,
    from: Endpoint,
    step: usize,
}

/// Returns the hop that counts what enters a NIC: XDP, or tc if XDP is blind and tc is not.
fn entry(trace: &HostTrace) -> Hop {
    let blind = |hop| seen_at(trace, hop, Echo::Request).1.is_some();
    if blind(Hop::XdpIn) && !blind(Hop::TcIn) { Hop::TcIn } else { Hop::XdpIn }
}

fn stops(ledger: &Ledger<WayPoint>) -> Vec<WayStop> {
    let mut stops: Vec<WayStop> = ledger.stretches().iter().map(|stretch| stop(ledger, stretch)).collect();
    stops.sort_by_key(|stop| std::cmp::Reverse(stop.packets));
    stops
}

fn stop(ledger: &Ledger<WayPoint>, stretch: &Stretch) -> WayStop {
    let [last_seen, first_missing] = [stretch.last, stretch.first].map(|index| ledger.rows[index].step.clone());
    let blind = ledger.blind_between(stretch);
    let blind: Vec<BlindPoint> =
        blind.map(|(point, why)| BlindPoint { point: point.clone(), why: why.to_owned() }).collect();
    let within = last_seen.host == first_missing.host;
    WayStop {
        host: if within { last_seen.host.clone() } else { "network".to_owned() },
        packets: stretch.probes.len(),
        confidence: if blind.is_empty() { Confidence::Certain } else { Confidence::Likely },
        last_seen,
        first_missing,
        blind,
    }
}

impl Line {
    /// Returns the NICs in the order in which packets pass them, with what each saw.
    pub fn nics(&self) -> &[LedgerRow<WayPoint>] {
        self.ledger.rows.get(1..).unwrap_or_default()
    }

    /// Returns where its packets stop, most packets first.
    pub fn stops(&self) -> Vec<WayStop> {
        stops(&self.ledger)
    }

    /// Returns how many packets the NIC at `place` counts by design, if packets that are to stop pass the first
    /// `passed` NICs and no more. Returns `None` if the script expects nothing.
    fn expected(&self, place: usize, passed: usize) -> Option<usize> {
        let counts = self.planned.iter().map(|(expect, count)| match expect {
            Expect::Arrives => Some(*count),
            Expect::Stops => Some(if place < passed { *count } else { 0 }),
            Expect::Any => None,
        });
        counts.sum()
    }

    /// Returns where the counts differ from the design, one clause each. By design, packets that are to stop pass the
    /// first `passed` NICs and no more.
    pub fn differences(&self, passed: usize) -> Vec<String> {
        let what = format!("{} {}", self.leg.name(), self.id_name);
        let clause = |(place, row): (usize, &LedgerRow<WayPoint>)| {
            let expected = self.expected(place, passed)?;
            match &row.blind {
                Some(why) => Some(format!("{} could not see {what} ({why})", row.step)),
                None if row.seen.len() == expected => None,
                None => Some(format!("{} counted {} of {what} instead of {expected}", row.step, row.seen.len())),
            }
        };
        self.nics().iter().enumerate().filter_map(clause).collect()
    }
}

#[cfg(test)]
mod tests;
