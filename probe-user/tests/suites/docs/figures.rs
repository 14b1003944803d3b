//! Figures that pages claim and that can be counted: the catalogue of faults, the models, the facts.

use std::{fs, process::Command};

use serde_json::Value;

use super::{repo, sources::variants};

/// A page with one blank between words.
fn page(name: &str) -> String {
    let text = fs::read_to_string(repo().join("docs").join(name)).expect("a page");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn listed(words: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_probe")).args(words).args(["--list", "--format", "json"]).output();
    serde_json::from_slice(&output.expect("probe starts").stdout).expect("a document")
}

#[test]
fn the_score_that_is_shown_is_of_the_whole_catalogue() {
    // The lab's own cases: those of scenes have figures of their own.
    let list = listed(&["lab", "faults", "healthy", "altered", "local", "network", "peer"]);
    let cases = list["cases"].as_array().expect("cases");
    let count = |fits: &dyn Fn(&Value) -> bool, family: u64| {
        let of = |case: &&Value| case["families"].as_array().expect("families").contains(&family.into());
        cases.iter().filter(|case| fits(case)).filter(of).count()
    };
    let nothing = |case: &Value| case["place"] == "nothing";
    let (v4, v6) = (count(&nothing, 4), count(&nothing, 6));
    let broken = |case: &Value| !nothing(case);
    let (healthy, faults) = (v4 + v6, count(&broken, 4) + count(&broken, 6));
    let text = page("lab.md");
    for claim in [
        format!("{} cases,", healthy + faults),
        format!("healthy paths {v4} of {v4} {v6} of {v6}"),
        format!(
            "Located {faults} of {faults} faults; {healthy} of {healthy} healthy paths judged right, 0 false stops"
        ),
    ] {
        assert!(text.contains(&claim), "docs/lab.md does not say: {claim}");
    }
}

#[test]
fn the_score_of_characterisations_is_of_all_models_and_facts() {
    let list = listed(&["lab", "characterize"]);
    let models = list["models"].as_array().expect("models");
    let facts = variants(include_str!("../../../src/middlebox/datasheet/fact.rs"), "Fact").len();
    let text = page("middlebox.md");
    for model in models {
        let [name, title] = ["name", "title"].map(|field| model[field].as_str().expect("a text"));
        let row = format!("| `{name}` | {title} | {facts}/{facts} | {facts}/{facts} |");
        assert!(text.contains(&row), "docs/middlebox.md has no row: {row}");
    }
    let all = models.len() * facts * 2;
    assert!(text.contains(&format!("{all} of {all} facts")), "{all} facts");
}
