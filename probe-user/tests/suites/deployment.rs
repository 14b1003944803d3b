//! `deploy/`: manifests fit the schemas that Kubernetes publishes, and ask for just what a diagnosis needs; the unit is one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use probe_user::lab::Netns;
use serde::Deserialize as _;
use serde_json::Value;

use crate::common::{is_root, skip, validator};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").join("deploy")
}

/// The documents of a manifest.
fn documents(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(deploy().join("kubernetes").join(name)).expect("a manifest");
    serde_yaml_ng::Deserializer::from_str(&text).map(|one| Value::deserialize(one).expect("YAML")).collect()
}

fn faults(document: &Value) -> Vec<String> {
    let mut schema: Value = serde_json::from_str(include_str!("../schemas/kubernetes.json")).expect("JSON");
    let kind = document["kind"].as_str().expect("a kind");
    let mut whole = schema["kinds"][kind].take();
    assert!(whole.is_object(), "no schema of {kind}");
    whole["$defs"] = schema["$defs"].take();
    validator::faults(&whole, document)
}

#[test]
fn manifests_fit_the_published_schemas() {
    let mut seen = 0;
    for entry in fs::read_dir(deploy().join("kubernetes")).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        for document in documents(&name) {
            let faults = faults(&document);
            assert!(faults.is_empty(), "{name}: {}", faults.join("\n"));
            seen += 1;
        }
    }
    assert_eq!(seen, 3, "a namespace, a DaemonSet and a pod");
    // The schema is one that can be broken.
    let mut pod = documents("debug-pod.yaml").remove(0);
    pod["spec"]["hostNetworks"] = true.into();
    pod["spec"]["containers"][0]["stdin"] = "yes".into();
    assert_eq!(faults(&pod).len(), 2, "{:?}", faults(&pod));
}

/// What a manifest's container may do.
fn capabilities(document: &Value) -> Vec<String> {
    let spec = if document["kind"] == "Pod" { &document["spec"] } else { &document["spec"]["template"]["spec"] };
    let capabilities = &spec["containers"][0]["securityContext"]["capabilities"];
    assert_eq!(capabilities["drop"], serde_json::json!(["ALL"]));
    let names = capabilities["add"].as_array().expect("a list").iter();
    names.map(|name| name.as_str().expect("a name").to_lowercase()).collect()
}

/// A diagnosis of this host itself with just these capabilities.
fn diagnosed(host: &Netns, capabilities: &[String]) -> (Option<i32>, Value) {
    let set = format!("-all,+{}", capabilities.join(",+"));
    let mut command = host.command("setpriv");
    command.arg(format!("--bounding-set={set}")).arg(format!("--inh-caps={set}")).arg("--no-new-privs");
    command.args([env!("CARGO_BIN_EXE_probe"), "diagnose", "127.0.0.1", "-c", "2", "--format", "json"]);
    let output = command.output().expect("setpriv is there");
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn a_diagnosis_works_and_is_not_blind_with_the_capabilities_of_the_manifests_and_not_with_one_less() {
    if !is_root("a_diagnosis_works_and_is_not_blind_with_the_capabilities_of_the_manifests_and_not_with_one_less") {
        return;
    }
    let host = Netns::new().expect("a namespace");
    assert!(host.command("ip").args(["link", "set", "lo", "up"]).status().expect("ip is there").success());
    let asked = capabilities(&documents("daemonset.yaml")[1]);
    let whole = |code: Option<i32>, report: &Value| {
        let hops = report["hops"].as_array().into_iter().flatten();
        code == Some(0) && hops.into_iter().all(|hop| hop["state"] != "blind")
    };
    let (code, report) = diagnosed(&host, &asked);
    assert!(whole(code, &report), "{code:?} {report}");
    for left_out in &asked {
        let fewer: Vec<String> = asked.iter().filter(|name| *name != left_out).cloned().collect();
        let (code, report) = diagnosed(&host, &fewer);
        assert!(!whole(code, &report), "{left_out} is not needed: {report}");
    }
    let more = capabilities(&documents("debug-pod.yaml")[0]);
    assert!(asked.iter().all(|name| more.contains(name)), "{more:?}");
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = deploy().join("systemd/probe-observe@.service");
    let text = fs::read_to_string(&unit).expect("a unit");
    // systemd wants the program where the unit says, and reads its manual.
    let copy = std::env::temp_dir().join(format!("probe-unit-{}", std::process::id()));
    fs::create_dir_all(&copy).expect("a new folder");
    let named = copy.join("probe-observe@lo.service");
    let tried = text.replace("/usr/bin/probe", env!("CARGO_BIN_EXE_probe"));
    let tried: String =
        tried.lines().filter(|line| !line.starts_with("Documentation=")).map(|line| format!("{line}\n")).collect();
    fs::write(&named, tried).expect("it is ours");
    let answer =
        Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).arg(&named).output();
    fs::remove_dir_all(&copy).expect("it is there");
    let Ok(answer) = answer else { return skip("the_unit_is_one_that_systemd_takes", "there is no systemd-analyze") };
    let said = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success() && !said.contains("probe-observe"), "{said}");
}
