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

const OWN_SCENE: &str = r#"title = "two hosts"
from = "a"
target = "b"
links = ["a:eth0 b:eth0"]
[host.a]
addresses = { eth0 = ["10.1.0.1/24", "fd01::1/64"] }
[host.b]
addresses = { eth0 = ["10.1.0.2/24", "fd01::2/64"] }
[watch.near]
[[case]]
name = "healthy"
title = "nothing is wrong"
[[case]]
name = "input"
title = "b drops requests in its input chain"
break.b = """
nft -f - <<'END'
table inet filter {
    chain input {
        type filter hook input priority 0;
        {echo} drop
    }
}
END"""
expect = { place = "b", layer = "netfilter", hook = "input", confidence = "certain" }
[[case]]
name = "not-broken"
title = "b drops nothing"
break.b = "true"
expect = { place = "b", layer = "netfilter" }
[[case]]
name = "nowhere"
title = "a part of the kernel is missing"
needs."devices of no kind" = "ip link add x type no-such-kind"
"#;

#[test]
fn a_scene_of_ones_own_is_built_broken_and_judged() {
    let Some(_turn) = turn("a_scene_of_ones_own_is_built_broken_and_judged") else { return };
    let file = std::env::temp_dir().join(format!("probe-own-scene-{}.toml", std::process::id()));
    std::fs::write(&file, OWN_SCENE).expect("written");
    let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
    let output = run(&["--scene", &file.to_string_lossy(), "--format", "json"]);
    std::fs::write(&file, OWN_SCENE.replace("{echo}", "{no}")).expect("written");
    let refused = run(&["--scene", &file.to_string_lossy(), "--format", "json"]);
    std::fs::remove_file(&file).expect("ours");
    let document = json(&output);
    assert_eq!((&document["total"], &document["located"]), (&4.into(), &4.into()), "{document:#}");
    let row =
        |place: &str| document["summary"].as_array().expect("rows").iter().find(|row| row["place"] == place).cloned();
    assert_eq!(row("receiver").map(|row| row["ipv6"]["right"].clone()), Some(1.into()), "{document:#}");
    assert_eq!(document["cases"][2]["got"]["place"], "b", "{document:#}");
    let left_out: Vec<_> = document["left_out"].as_array().expect("left out").iter().map(|out| &out["why"]).collect();
    let idle = "the fault is not in force: 4 of 4 packets came back";
    let lacks = "this machine lacks devices of no kind";
    assert_eq!(left_out, [idle, idle, lacks, lacks]);
    assert_eq!(refused.status.code(), Some(2));
    let error = json(&refused);
    assert_eq!(
        error["error"],
        format!("{name}.toml:16: {{no}} stands for nothing; braces that do not hold a word need a blank inside")
    );
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
