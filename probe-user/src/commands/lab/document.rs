//! What a run showed, as the report writes it.

use crate::{
    lab::{
        LabHost,
        experiment::{Answers, Name, Outcome, Step as Sent},
    },
    path::Leg,
    report::experiment::{Action, Experiment, IdStop, Line, Step},
};

/// The report of one run.
pub(super) fn report(outcome: Outcome) -> Experiment {
    let (as_expected, finding, steps) = (outcome.as_expected(), outcome.finding(), steps(&outcome));
    let ids = outcome.ids;
    let line = |track: crate::lab::experiment::Track| Line {
        kind: track.ledger.leg,
        id_name: track.id.to_string(),
        id: track.number,
        rows: track.ledger.rows,
    };
    let stops = outcome.stops.into_iter();
    Experiment {
        name: outcome.experiment.name.into(),
        title: outcome.experiment.title.into(),
        family: outcome.family,
        steps,
        lines: outcome.tracks.into_iter().map(line).collect(),
        stops: stops.map(|(id, stop)| IdStop { stop, id_name: id.to_string(), id: ids.number(id) }).collect(),
        finding,
        as_expected,
    }
}

/// Who keeps B's kernel quiet or lets it answer, then what is sent.
fn steps(outcome: &Outcome) -> Vec<Step> {
    let step = |host: LabHost, action, kind, id: Name, count| Step {
        host: host.name().into(),
        action,
        kind,
        id_name: id.to_string(),
        id: outcome.ids.number(id),
        count,
    };
    let send = |sent: &Sent| step(sent.from, Action::Send, Leg::of(sent.echo), sent.id, Some(sent.count));
    let sent = outcome.experiment.steps.iter().map(send);
    match outcome.experiment.answers {
        Answers::Kernel => sent.chain([step(LabHost::B, Action::Answer, Leg::Request, Name::X, None)]).collect(),
        Answers::Nobody => {
            let absorb = Name::ALL.map(|id| step(LabHost::B, Action::Absorb, Leg::Request, id, None));
            absorb.into_iter().chain(sent).collect()
        }
    }
}
