//! Boxes of which everything is known, characterized by `probe lab characterize`: each fact that is asked is right.

use std::process::Command;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::trial::{Beside, Held, trial};

/// One box, and what is asked of it.
struct Row {
    /// The model, as `probe lab characterize --list` has it.
    model: &'static str,
    /// The IP version.
    version: u8,
    /// What is asked, as options.
    asked: &'static [&'static str],
    /// How many facts that are.
    facts: u64,
}

/// What each remembers, of Linux and of a guard; a timeout over IPv6, which builds on state and id.
const ROWS: [Row; 3] = [
    Row { model: "group-one-side", version: 4, asked: &["--quick", "--datasheets"], facts: 7 },
    Row { model: "code-zero", version: 4, asked: &["--quick", "--datasheets"], facts: 7 },
    Row { model: "group-one-side", version: 6, asked: &["--only", "timeout"], facts: 3 },
];

/// How far a timeout may be from the truth, in seconds.
const CLOSE: f64 = 0.25;

pub(crate) fn trials() -> Vec<Trial> {
    let trials = ROWS.iter().map(|row| {
        let asked = row.asked.last().filter(|_| row.asked[0] == "--only").unwrap_or(&"quick");
        trial(format!("models::{}::v{}::{asked}", row.model, row.version), Beside::Labs, || is_known(row))
    });
    trials.collect()
}

fn is_known(row: &'static Row) -> Result<Held, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command.args(["lab", "characterize", row.model, &format!("-{}", row.version), "--format", "json"]).args(row.asked);
    let output = command.output().expect("probe starts");
    let document: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {output:?}"))?;
    assert_eq!(document["schema"], "probe.models/1", "{document}");
    let runs = document["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [run] = runs else { return Err(format!("{} runs: {document:#}", runs.len())) };
    let facts = Some(row.facts);
    let told = (output.status.code(), run["asked"].as_u64(), document["right"].as_u64());
    assert_eq!(told, (Some(0), facts, facts), "wrong: {:#} {document}", run["wrong"]);
    if row.asked.contains(&"timeout") {
        let error = document["worst_time_error_s"].as_f64();
        assert!(error.is_some_and(|error| error <= CLOSE), "{document:#}");
    }
    Ok(Held::Yes)
}
