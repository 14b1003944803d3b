//! What a run over the models showed, as the report writes it.

use probe_ebpf::Family;

use super::running::{ModelCase, ModelRunEnd, ModelRunResult};
use crate::{
    lab::model::{BoxModel, JudgedFact},
    report::models::{ModelList, ModelRow, ModelRun, ModelsReport, TrueFact, WrongFact},
};

/// Which datasheets the report carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DatasheetDetail {
    /// Those with something wrong in them.
    WhatIsWrong,
    /// All.
    Everything,
}

/// Builds the report of a run.
pub(super) fn of(cases: &[ModelCase], ended: Vec<ModelRunEnd>, seconds: f64, detail: DatasheetDetail) -> ModelsReport {
    let unreached = ended.iter().filter(|ended| matches!(ended, ModelRunEnd::Interrupted)).count();
    let runs = cases.iter().zip(ended).filter_map(|(case, ended)| match ended {
        ModelRunEnd::Finished(result) => Some(model_run(case, *result, detail)),
        ModelRunEnd::Failed(why) => Some(ModelRun { failure: Some(why), ..empty(case) }),
        ModelRunEnd::Interrupted => None,
    });
    ModelsReport::new(runs.collect(), unreached, seconds)
}

fn empty(case: &ModelCase) -> ModelRun {
    ModelRun {
        model: case.model.name,
        title: case.model.title,
        family: case.version(),
        right: 0,
        asked: 0,
        wrong: Vec::new(),
        time_error_s: None,
        failure: None,
        datasheet: None,
        seconds: 0.0,
    }
}

fn model_run(case: &ModelCase, result: ModelRunResult, detail: DatasheetDetail) -> ModelRun {
    let ModelRunResult { datasheet, seconds } = result;
    let judged = case.model.judge(&datasheet, case.family);
    let off_by = |judged: &JudgedFact<'_>| judged.truth.off_by(&judged.finding.value);
    let wrong: Vec<WrongFact> = judged.iter().filter(|judged| !judged.right).map(wrong).collect();
    let run = ModelRun {
        right: judged.len() - wrong.len(),
        asked: judged.len(),
        time_error_s: judged.iter().filter_map(off_by).reduce(f64::max),
        seconds,
        ..empty(case)
    };
    let shown = detail == DatasheetDetail::Everything || !wrong.is_empty();
    ModelRun { wrong, datasheet: shown.then_some(datasheet), ..run }
}

fn wrong(judged: &JudgedFact<'_>) -> WrongFact {
    let finding = judged.finding;
    WrongFact {
        fact: finding.fact,
        expected: judged.truth.words(finding.fact),
        got: finding.answer.clone(),
        expected_value: judged.truth.value().cloned(),
        expected_measures: judged.truth.measures(finding.fact),
        got_value: finding.value.clone(),
        got_measures: finding.measures.clone(),
        confidence: finding.confidence,
        note: finding.note.clone(),
    }
}

/// Lists the catalogue.
pub(super) fn list(models: &[BoxModel]) -> ModelList {
    let row = |model: &BoxModel| ModelRow {
        name: model.name,
        title: model.title,
        made_of: if model.build.guard.is_some() { "guard" } else { "linux" },
        truths: model
            .truths(Family::V4)
            .into_iter()
            .map(|(fact, truth)| TrueFact {
                fact,
                is: truth.words(fact),
                value: truth.value().cloned(),
                measures: truth.measures(fact),
            })
            .collect(),
    };
    ModelList { models: models.iter().map(row).collect() }
}
