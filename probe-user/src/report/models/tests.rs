//! What the score of the model boxes looks like, and what a machine reads of it.

use super::*;
use crate::report::{self, Format};

fn run(model: &'static str, wrong: Vec<WrongFact>, time_error_s: Option<f64>) -> ModelRun {
    let title = "a box";
    let right = 3 - wrong.len();
    let (failure, datasheet) = (None, None);
    ModelRun { model, title, family: 4, right, asked: 3, wrong, time_error_s, failure, datasheet, seconds: 12.0 }
}

fn wrong(confidence: Confidence) -> WrongFact {
    WrongFact {
        fact: Fact::Seq,
        expected: "a".into(),
        got: "b".into(),
        expected_value: Some(FactValue::Yes),
        expected_measures: Vec::new(),
        got_value: FactValue::No,
        got_measures: Vec::new(),
        confidence,
        note: None,
    }
}

fn text(models: &ModelsReport) -> String {
    let mut out = Vec::new();
    report::write(&mut out, models, Format::Text, &Style::plain()).expect("memory takes all");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn the_score_counts_facts_runs_and_what_was_wrongly_called_certain() {
    let runs = vec![
        run("one", Vec::new(), Some(0.1)),
        run("two", vec![wrong(Confidence::Certain)], Some(0.2)),
        run("three", vec![wrong(Confidence::Likely)], None),
    ];
    let models = ModelsReport::new(runs, 0, 60.0);
    assert!(!models.is_clean());
    let text = text(&models);
    assert!(
        text.contains(
            "7 of 9 facts right; 1 of 3 runs right in all facts; times within 0.20 s; 1 wrong answer was called certain; 60 s."
        ),
        "{text}"
    );
    assert!(text.contains("two over IPv4") && text.contains("expected  a") && text.contains("got       b (certain)"));
}

#[test]
fn a_run_without_a_datasheet_is_not_right() {
    let failed = ModelRun { right: 0, asked: 0, failure: Some("no agent".into()), ..run("one", Vec::new(), None) };
    let models = ModelsReport::new(vec![failed], 2, 1.0);
    assert!(!models.is_clean());
    let text = text(&models);
    assert!(
        text.contains("no datasheet")
            && text.contains("no agent")
            && text.contains("2 runs were not started or not completed")
    );
}
