//! Converts the result of an experiment to its document: steps, what every hop counted, where packets stop.

use crate::{
    diagnosis::{
        self, Evidence,
        document::{HopStatus, StopHost},
        ledger::LedgerRow,
        path::Side as Place,
    },
    middlebox::{
        experiment::{
            Script, Sends,
            account::{RunTraces, evidence},
            outcome::{EndNames, ExperimentOutcome, RepetitionCounts, StepOutcome},
            plan::ExperimentPlan,
            way::{Line, Way, WayNic, WayPoint, WayStop},
        },
        player::{Completion, Played},
        timeline::{EndAddresses, Endpoint},
    },
    model::trace::HostTrace,
    report::experiment::{Between, Counted, End, Experiment, StepRow, StepStop},
};

/// Builds the document of a script that was played. If NICs on the path were watched, their counts are used.
pub(in crate::commands) fn document(
    script: &Script,
    plan: &ExperimentPlan,
    outcome: &ExperimentOutcome,
    played: &Played,
    (ends, names): (&EndAddresses, &EndNames),
) -> Experiment {
    let traces = RunTraces { run: &played.run, near: &played.near, far: &played.far };
    let way = way(script, plan, played, names);
    let steps: Vec<PlayedStep<'_>> = script
        .sends()
        .zip(&outcome.steps)
        .map(|((place, sends), outcome)| {
            let evidence = evidence(plan, traces, (ends, names), place);
            PlayedStep { place, sends, outcome, evidence, names }
        })
        .collect();
    let lines = way.as_ref().map(Way::lines).unwrap_or_default();
    let checkpoints = match &way {
        Some(_) => lines.iter().flat_map(at_nics).collect(),
        None => steps.iter().flat_map(|step| step.counts(plan)).collect(),
    };
    Experiment {
        name: script.name.clone(),
        title: script.title.clone(),
        question: script.question.clone(),
        between: Some(Between {
            family: ends.family(),
            repetitions: script.repeat,
            near: end(&names.near, &played.near, ends.of(Endpoint::Near)[0].to_string()),
            far: end(&names.far, &played.far, ends.of(Endpoint::Far)[0].to_string()),
        }),
        steps: steps.iter().map(|step| step.step(plan)).collect(),
        checkpoints,
        stops: steps.iter().flat_map(|step| step.stops(way.as_ref())).collect(),
        finding: outcome.finding.clone(),
        as_expected: outcome.as_expected,
        interrupted: played.whole == Completion::Stopped,
        experiments: None,
        notes: Vec::new(),
        lines,
    }
}

/// Returns the NICs from one end to the other, or `None` if nothing was watched in between.
fn way<'a>(script: &'a Script, plan: &'a ExperimentPlan, played: &'a Played, names: &'a EndNames) -> Option<Way<'a>> {
    let between = played.between.iter().map(|trace| WayNic { host: &trace.host.hostname, trace });
    let near = WayNic { host: &names.near, trace: &played.near };
    let far = WayNic { host: &names.far, trace: &played.far };
    let nics = std::iter::once(near).chain(between).chain([far]).collect();
    (!played.between.is_empty()).then_some(Way { script, plan, run: &played.run, nics })
}

/// Returns what each NIC counted of one kind of packet with one id.
fn at_nics(line: &Line) -> Vec<Counted> {
    let counted = |row: &LedgerRow<WayPoint>| {
        let state = match (&row.blind, row.seen.is_empty()) {
            (Some(_), _) => HopStatus::Blind,
            (None, true) => HopStatus::Missing,
            (None, false) => HopStatus::Seen,
        };
        let point = &row.step;
        Counted {
            step: None,
            host: point.host.clone(),
            hop: point.station.name(),
            interface: point.interface.clone(),
            kind: line.leg,
            id_name: line.id_name.clone(),
            id: line.id,
            state,
            packets: row.blind.is_none().then_some(row.seen.len()),
            why: row.blind.clone(),
        }
    };
    line.nics().iter().map(counted).collect()
}

fn end(name: &str, trace: &HostTrace, address: String) -> End {
    let (interface, xdp_mode) = (trace.host.interface.clone(), trace.host.xdp_mode);
    End { name: name.to_owned(), interface, address, xdp_mode }
}

/// A step, and all that is known of it.
struct PlayedStep<'a> {
    place: usize,
    sends: &'a Sends,
    outcome: &'a StepOutcome,
    /// What was seen of its packets; `None` for packets that no hop follows.
    evidence: Option<Evidence>,
    names: &'a EndNames,
}

impl PlayedStep<'_> {
    fn number(&self) -> usize {
        self.place + 1
    }

    fn step(&self, plan: &ExperimentPlan) -> StepRow {
        let (sent, arrived) = self.outcome.packets();
        let id = |ids: &std::collections::BTreeMap<String, u16>| ids.get(&self.sends.id).copied();
        let ids: Vec<u16> = plan.ids.iter().filter_map(id).collect();
        StepRow {
            number: self.number(),
            from: self.names.of(self.sends.from).to_owned(),
            to: self.names.of(self.sends.from.other()).to_owned(),
            packet: self.sends.packet.name(),
            id_name: self.sends.id.clone(),
            id: ids.first().copied().unwrap_or_default(),
            ids,
            count: self.sends.count,
            role: self.sends.role,
            expect: self.sends.expect,
            sent,
            arrived,
            votes: self.outcome.votes.iter().map(RepetitionCounts::disposition).collect(),
            disposition: self.outcome.disposition,
            as_expected: self.outcome.as_expected,
        }
    }

    /// Returns what every hop counted, by id, with one row for each repetition.
    fn counts(&self, plan: &ExperimentPlan) -> Vec<Counted> {
        let Some(whole) = &self.evidence else { return Vec::new() };
        let mut rows = Vec::new();
        for (repetition, ids) in (0..).zip(&plan.ids) {
            let mut evidence = whole.clone();
            let ours = |probe: u16| plan.origins[usize::from(probe)].repetition == repetition;
            evidence.sending.probes.retain(|sent| ours(sent.probe));
            for hop in diagnosis::diagnose(&evidence).hops {
                rows.push(Counted {
                    step: Some(self.number()),
                    host: self.host(hop.checkpoint.host).to_owned(),
                    hop: hop.checkpoint.station.name(),
                    interface: None,
                    kind: hop.leg,
                    id_name: self.sends.id.clone(),
                    id: ids.get(&self.sends.id).copied().unwrap_or_default(),
                    state: hop.state,
                    packets: hop.packets,
                    why: hop.why,
                });
            }
        }
        rows
    }

    /// Returns the name of the end that is `place` for the sender.
    fn host(&self, place: Place) -> &str {
        match place {
            Place::Local | Place::Via(_) => self.names.of(self.sends.from),
            Place::Peer => self.names.of(self.sends.from.other()),
        }
    }

    fn stops(&self, way: Option<&Way<'_>>) -> Vec<StepStop> {
        let Some(diagnosis) = self.evidence.as_ref().map(diagnosis::diagnose) else { return Vec::new() };
        let sentence = &diagnosis.verdict.sentence;
        let step_stop = |stop: &diagnosis::document::Stop| StepStop {
            step: self.number(),
            sender: self.names.of(self.sends.from).to_owned(),
            stop: stop.clone(),
            on_the_way: way
                .filter(|_| stop.host == StopHost::Network)
                .map_or_else(Vec::new, |way| self.on_the_way(way)),
            sentence: sentence.clone(),
        };
        diagnosis.stops.iter().map(step_stop).collect()
    }

    /// Returns where packets stopped between the two ends.
    fn on_the_way(&self, way: &Way<'_>) -> Vec<WayStop> {
        let ends = [&self.names.near, &self.names.far];
        way.stops_of(self.place).into_iter().filter(|stop| !ends.contains(&&stop.host)).collect()
    }
}
