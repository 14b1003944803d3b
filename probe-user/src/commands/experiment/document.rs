//! From what an experiment showed to its document: steps, what every hop counted, where packets stop.

use crate::{
    diagnosis::{self, Evidence, document::HopStatus, path::Side as Place},
    middlebox::{
        experiment::{
            Script, Sends,
            account::{Sights, evidence},
            outcome::{EndNames, ExperimentOutcome, RepetitionCounts, StepOutcome},
            plan::ExperimentPlan,
        },
        player::{Completion, Played},
        timeline::{EndAddresses, Endpoint},
    },
    model::trace::HostTrace,
    report::scripted::{EndpointReport, HopCount, Scripted, ScriptedStep, StepStop},
};

/// The document of a script that was played.
pub(super) fn document(
    script: &Script,
    plan: &ExperimentPlan,
    outcome: &ExperimentOutcome,
    played: &Played,
    (ends, names): (&EndAddresses, &EndNames),
) -> Scripted {
    let sights = Sights { run: &played.run, near: &played.near, far: &played.far };
    let told: Vec<Told<'_>> = script
        .sends()
        .zip(&outcome.steps)
        .map(|((place, sends), outcome)| {
            let evidence = evidence(plan, sights, (ends, names), place);
            Told { place, sends, outcome, evidence, names }
        })
        .collect();
    Scripted {
        name: script.name.clone(),
        title: script.title.clone(),
        question: script.question.clone(),
        family: ends.family(),
        repetitions: script.repeat,
        near: end(&names.near, &played.near, ends.of(Endpoint::Near)[0].to_string()),
        far: end(&names.far, &played.far, ends.of(Endpoint::Far)[0].to_string()),
        steps: told.iter().map(|told| told.step(plan)).collect(),
        checkpoints: told.iter().flat_map(|told| told.counts(plan)).collect(),
        stops: told.iter().flat_map(Told::stops).collect(),
        finding: outcome.finding.clone(),
        as_expected: outcome.as_expected,
        interrupted: played.whole == Completion::Stopped,
    }
}

fn end(name: &str, sight: &HostTrace, address: String) -> EndpointReport {
    let (interface, xdp_mode) = (sight.host.interface.clone(), sight.host.xdp_mode.clone());
    EndpointReport { name: name.to_owned(), interface, address, xdp_mode }
}

/// A step, and all that is known of it.
struct Told<'a> {
    place: usize,
    sends: &'a Sends,
    outcome: &'a StepOutcome,
    /// What was seen of its packets; none for what no hop follows.
    evidence: Option<Evidence>,
    names: &'a EndNames,
}

impl Told<'_> {
    fn number(&self) -> usize {
        self.place + 1
    }

    fn step(&self, plan: &ExperimentPlan) -> ScriptedStep {
        let (sent, arrived) = self.outcome.packets();
        let id = |ids: &std::collections::BTreeMap<String, u16>| ids.get(&self.sends.id).copied();
        ScriptedStep {
            number: self.number(),
            from: self.names.of(self.sends.from).to_owned(),
            to: self.names.of(self.sends.from.other()).to_owned(),
            packet: self.sends.packet.name(),
            id_name: self.sends.id.clone(),
            ids: plan.ids.iter().filter_map(id).collect(),
            role: self.sends.role,
            expect: self.sends.expect,
            sent,
            arrived,
            votes: self.outcome.votes.iter().map(RepetitionCounts::fate).collect(),
            fate: self.outcome.fate,
            as_expected: self.outcome.as_expected,
        }
    }

    /// What every hop counted, by id: one row for each repetition.
    fn counts(&self, plan: &ExperimentPlan) -> Vec<HopCount> {
        let Some(whole) = &self.evidence else { return Vec::new() };
        let mut rows = Vec::new();
        for (repetition, ids) in (0..).zip(&plan.ids) {
            let mut evidence = whole.clone();
            let ours = |probe: u16| plan.origins[usize::from(probe)].repetition == repetition;
            evidence.sending.probes.retain(|sent| ours(sent.probe));
            for hop in diagnosis::diagnose(&evidence).hops {
                rows.push(HopCount {
                    step: self.number(),
                    host: self.host(hop.checkpoint.host).to_owned(),
                    hop: hop.checkpoint.station.name(),
                    kind: self.sends.packet.name(),
                    id: ids.get(&self.sends.id).copied().unwrap_or_default(),
                    state: match hop.state {
                        HopStatus::Seen => "seen",
                        HopStatus::Missing => "missing",
                        HopStatus::Blind => "blind",
                    },
                    packets: hop.packets,
                });
            }
        }
        rows
    }

    /// The name of the end that is `place` to those who sent.
    fn host(&self, place: Place) -> &str {
        match place {
            Place::Local => self.names.of(self.sends.from),
            Place::Peer => self.names.of(self.sends.from.other()),
        }
    }

    fn stops(&self) -> Vec<StepStop> {
        let Some(diagnosis) = self.evidence.as_ref().map(diagnosis::diagnose) else { return Vec::new() };
        let sentence = &diagnosis.verdict.sentence;
        let told = |stop: &diagnosis::document::Stop| StepStop {
            step: self.number(),
            sender: self.names.of(self.sends.from).to_owned(),
            stop: stop.clone(),
            sentence: sentence.clone(),
        };
        diagnosis.stops.iter().map(told).collect()
    }
}
