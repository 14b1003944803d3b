//! Facts that a few kinds of trials decide: three of each, interleaved, more if there is loss.

use std::time::Duration;

use super::{Gate, ProcedureStep};
use crate::{
    middlebox::datasheet::{
        fact::Fact,
        finding::{FactFinding, FactValue, TrialCount},
        known::KnownFacts,
        script::{Control, Draft, PlanBuilder, TrialSubject},
        votes::Belief,
    },
    model::verdict::Confidence,
};

/// One kind of trial.
#[derive(Clone, Copy)]
pub(super) struct Arm {
    /// Its name in the evidence.
    pub(super) what: &'static str,
    /// What is known about its outcome beforehand.
    pub(super) control: Control,
    /// Writes the trial.
    pub(super) write: fn(&mut Draft<'_, '_>) -> TrialSubject,
}

impl Arm {
    fn is_control(&self) -> bool {
        matches!(self.control, Control::Positive | Control::Negative)
    }
}

/// How often a trial is made in one round.
const REPETITIONS: u32 = 3;

/// Time between repetitions: loss comes in bursts, and one burst must not take all three.
const APART: Duration = Duration::from_millis(100);

/// The control that passes: a request and its reply.
pub(super) const EXCHANGE: Arm = Arm { what: "the reply to a request", control: Control::Positive, write: exchange };

/// The control that is stopped: an unsolicited reply with an unused id.
pub(super) const STRAY: Arm =
    Arm { what: "an unsolicited reply with an unused id", control: Control::Negative, write: stray };

fn exchange(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let request = draft.arrived_request();
    let reply = draft.reply(request);
    TrialSubject::of(draft.send(reply)).since(request)
}

fn stray(draft: &mut Draft<'_, '_>) -> TrialSubject {
    let request = draft.arrived_request();
    let reply = draft.stray(request);
    TrialSubject::of(draft.send(reply))
}

/// Creates a case: the arm that the question is about.
pub(super) const fn case(what: &'static str, write: fn(&mut Draft<'_, '_>) -> TrialSubject) -> Arm {
    Arm { what, control: Control::Case, write }
}

/// Adds to `arms` the controls that mean something on this path: if the box ignores the id, a stray reply passes.
pub(super) fn with_controls(known: &KnownFacts, arms: &[Arm]) -> Vec<Arm> {
    let controls = if known.is(Fact::Id, &FactValue::Yes) { vec![EXCHANGE, STRAY] } else { vec![EXCHANGE] };
    controls.into_iter().chain(arms.iter().copied()).collect()
}

/// Adds three more trials of each kind that needs more, and of the controls beside them.
pub(super) fn ask(known: &KnownFacts, script: &mut PlanBuilder<'_>, fact: Fact, arms: &[Arm]) -> ProcedureStep {
    let wanting: Vec<&Arm> =
        arms.iter().filter(|arm| known.wants_more(known.tally(fact, arm.what), known.belief(fact, arm.what))).collect();
    if wanting.is_empty() || known.round(fact) >= known.most_rounds() {
        return ProcedureStep::Settled;
    }
    let chosen = |arm: &&Arm| arm.is_control() || wanting.iter().any(|other| other.what == arm.what);
    for _ in 0..REPETITIONS {
        for arm in arms.iter().filter(chosen) {
            script.trial((fact, arm.what, 0), arm.control, arm.write);
        }
        script.pause(APART);
    }
    ProcedureStep::Asked
}

/// Adds all trials of one kind before those of the next, and only once: if the box ignores the id, later kinds create
/// the state that earlier ones must not find.
pub(super) fn ask_in_order(
    known: &KnownFacts,
    script: &mut PlanBuilder<'_>,
    fact: Fact,
    arms: &[Arm],
) -> ProcedureStep {
    if known.round(fact) > 0 {
        return ProcedureStep::Settled;
    }
    for arm in arms {
        for _ in 0..known.repetitions() {
            script.trial((fact, arm.what, 0), arm.control, arm.write);
        }
    }
    ProcedureStep::Asked
}

/// Closes if the box ignores the id, because then any packet of the run could match instead of the trial's own.
pub(super) fn apart(known: &KnownFacts) -> Gate {
    match known.ids_are_alike() {
        true => Gate::Shut("the box ignores the id, so other packets of this run would match too".to_owned()),
        false => super::remembered(known),
    }
}

/// Returns the counts of each kind of trial.
pub(super) fn evidence(known: &KnownFacts, fact: Fact, arms: &[Arm]) -> Vec<TrialCount> {
    arms.iter()
        .map(|arm| known.tally(fact, arm.what).count(arm.what))
        .filter(|count| count.of + count.void > 0)
        .collect()
}

/// Returns the finding that `decide` makes of what the trials of each case show, in the order of `arms` (only those
/// that are `wanted`). There is none if the controls rule out an answer, or if a case that `decide` needs shows
/// nothing.
pub(super) fn judge(
    known: &KnownFacts,
    fact: Fact,
    arms: &[Arm],
    decide: impl FnOnce(&[Option<bool>]) -> Option<(FactValue, Vec<usize>)>,
) -> FactFinding {
    let evidence = evidence(known, fact, arms);
    let inconclusive =
        |why: String| FactFinding::new(fact, FactValue::Inconclusive, Confidence::Unknown, evidence.clone(), Some(why));
    if evidence.is_empty() {
        return FactFinding::not_tested(fact, "it was not reached");
    }
    if let Some(why) = known.broken_control(fact) {
        return inconclusive(why);
    }
    let cases: Vec<&Arm> = arms.iter().filter(|arm| !arm.is_control()).collect();
    let beliefs: Vec<Belief> = cases.iter().map(|arm| known.belief(fact, arm.what)).collect();
    let passes: Vec<Option<bool>> = beliefs.iter().map(|belief| belief.passes()).collect();
    let Some((answer, used)) = decide(&passes) else {
        let unsure = cases.iter().zip(&passes).find(|(_, passes)| passes.is_none());
        return inconclusive(unsure.map_or_else(
            || "the trials contradict each other".to_owned(),
            |(arm, _)| format!("{}: {}", arm.what, known.why_unsure(known.tally(fact, arm.what))),
        ));
    };
    let controls = arms.iter().filter(|arm| arm.is_control()).map(|arm| known.belief(fact, arm.what));
    let used = used.into_iter().filter_map(|index| beliefs.get(index).copied());
    let confidence = controls.chain(used).map(Belief::confidence).min().unwrap_or(Confidence::Unknown);
    FactFinding::new(fact, answer, confidence, evidence, None)
}
