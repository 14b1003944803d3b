//! `probe lab characterize`: boxes of which everything is known, characterised by the real command. Needs root.

use std::process::{Command, Output};

use serde_json::Value;

fn characterize(words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    let Output { status, stdout, stderr } =
        command.args(["lab", "characterize"]).args(words).output().expect("probe starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn json(words: &[&str]) -> (Option<i32>, Value) {
    let (code, stdout, stderr) = characterize(&[words, &["--format", "json"]].concat());
    let document = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    (code, document)
}

#[test]
fn what_each_remembers_is_found_out_for_linux_and_for_guards() {
    if !crate::common::is_root("what_each_remembers_is_found_out_for_linux_and_for_guards") {
        return;
    }
    let (code, document) = json(&["group-one-side", "code-zero", "-4", "--quick", "--datasheets"]);
    assert_eq!(document["schema"], "probe.models/1", "{document}");
    assert_eq!(document["runs"].as_array().map(Vec::len), Some(2), "{document}");
    let wrong: Vec<&Value> = document["runs"].as_array().into_iter().flatten().map(|run| &run["wrong"]).collect();
    assert_eq!((code, document["right"].as_u64()), (Some(0), Some(14)), "{wrong:#?} {document}");
}

#[test]
fn a_timeout_is_found_over_ipv6() {
    if !crate::common::is_root("a_timeout_is_found_over_ipv6") {
        return;
    }
    let (code, document) = json(&["group-one-side", "-6", "--only", "timeout"]);
    assert_eq!(code, Some(0), "{document:#}");
    assert_eq!(document["runs"][0]["asked"], 3, "state, id and timeout: {document:#}");
    assert!(document["worst_time_error_s"].as_f64().is_some_and(|error| error <= 0.25), "{document:#}");
}

#[test]
fn a_box_without_a_memory_is_told_from_one_with() {
    if !crate::common::is_root("a_box_without_a_memory_is_told_from_one_with") {
        return;
    }
    let (code, text, stderr) = characterize(&["invalid-passes", "-4", "--only", "size"]);
    assert_eq!(code, Some(0), "{text}{stderr}");
    assert!(text.contains("invalid-passes") && text.contains("2/2") && text.contains("2 of 2 facts right"), "{text}");
}

#[test]
fn the_list_and_bad_input_need_no_privilege() {
    let (code, text, stderr) = characterize(&["--list"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(text.contains("20s-then-10s") && text.contains("where it differs"), "{text}");
    let (code, _, stderr) = characterize(&["conntrak-5s"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("did you mean conntrack-5s?"), "{stderr}");
    let (code, _, stderr) = characterize(&["--quick", "--only", "timeout"]);
    assert_eq!((code, stderr.contains("--only")), (Some(2), true), "{stderr}");
}
