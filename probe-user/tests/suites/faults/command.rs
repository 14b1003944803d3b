//! `probe lab faults` as it is typed.

use std::process::{Command, Output, Stdio};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::turn;
use crate::common::{net::eventually, run::holds_a_namespace};

fn faults(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command.args(["lab", "faults"]).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(words: &[&str]) -> Output {
    faults(words).output().expect("probe runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_list_needs_no_privilege_and_names_every_case() {
    let output = run(&["--list", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let list = json(&output);
    let cases = list["cases"].as_array().expect("cases");
    let families: usize = cases.iter().map(|case| case["families"].as_array().expect("families").len()).sum();
    assert!(families >= 60, "{families}");
    let input = cases.iter().find(|case| case["name"] == "peer-nft-input").expect("it is there");
    assert_eq!((&input["place"], &input["expected"]["hook"][0]), (&"receiver".into(), &"input".into()));
}

#[test]
fn an_unknown_name_is_an_error_with_the_nearest_one() {
    let output = run(&["peer-nft-inputt", "--format", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let error = json(&output);
    assert_eq!(error["schema"], "probe.error/1");
    assert!(error["fix"].as_str().is_some_and(|fix| fix.contains("peer-nft-input")), "{error}");
}

#[test]
fn a_run_is_one_document_whatever_the_diagnosis_says() {
    let Some(_turn) = turn("a_run_is_one_document_whatever_the_diagnosis_says") else { return };
    let output = run(&["network-drops-requests", "-4", "--format", "json"]);
    let document = json(&output);
    assert_eq!((&document["schema"], &document["total"]), (&"probe.faults/1".into(), &1.into()));
    let clean = document["located"] == document["total"] && document["false_stops"] == 0;
    assert_eq!(output.status.code(), Some(i32::from(!clean)));
    assert_eq!(document["cases"][0]["expected"]["host"][0], "network");
}

#[test]
fn the_summary_is_the_score_by_place() {
    let Some(_turn) = turn("the_summary_is_the_score_by_place") else { return };
    let output = run(&["local-source-not-owned", "--summary"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("this host, requests going out  1 of 1  1 of 1"), "{text}");
    assert!(text.contains("Located 2 of 2 faults") && !text.contains("local-source"), "{text}");
}

#[test]
fn what_only_a_program_can_do_to_its_own_socket_is_told_beside_the_list() {
    let list = json(&run(&["--list", "--format", "json"]));
    let names: Vec<_> = list["beside"].as_array().expect("beside").iter().map(|fault| &fault["name"]).collect();
    assert_eq!(names, ["local-socket-filter", "local-socket-buffer"]);
}

#[test]
fn ctrl_c_prints_what_was_found_so_far() {
    let Some(_turn) = turn("ctrl_c_prints_what_was_found_so_far") else { return };
    let child = faults(&["--format", "json"]).spawn().expect("probe runs");
    eventually("it has a lab", || holds_a_namespace(child.id()));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("it is our child");
    let output = child.wait_with_output().expect("it ends");
    let document = json(&output);
    assert_eq!(output.status.code(), Some(130));
    assert!(document["unreached"].as_u64().is_some_and(|unreached| unreached > 0), "{document}");
}
