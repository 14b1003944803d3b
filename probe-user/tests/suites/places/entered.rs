//! Diagnoses that are typed in one network namespace and made from another: by its file, by a process, by a container.

use std::{
    os::fd::{AsFd, AsRawFd},
    process::{Child, Command},
};

use probe_user::lab::Netns;
use serde_json::Value;

use super::{B, DROP, routed, stopped_in};
use crate::common::{net::sh, run::Ran};

/// A process that lives in a namespace until it is dropped.
pub(super) struct Resident(Child);

impl Resident {
    pub(super) fn of(netns: &Netns) -> Self {
        Self(netns.command("sleep").arg("60").spawn().expect("sleep is there"))
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `probe` in this process's own namespace.
fn typed(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    command.args(words).env_remove("PROBE_OWN_NAMESPACE").env("NO_COLOR", "1");
    command
}

fn told(mut command: Command) -> Value {
    Ran::of(command.output().expect("it starts")).json()
}

#[test]
fn a_run_is_made_from_the_namespace_of_a_file_or_a_process_and_its_commands_lead_there() {
    let Some(lab) = routed("a_run_is_made_from_the_namespace_of_a_file_or_a_process_and_its_commands_lead_there")
    else {
        return;
    };
    let resident = Resident::of(&lab.a);
    let pid = resident.0.id().to_string();
    let file = format!("/proc/{}/fd/{}", std::process::id(), lab.a.as_fd().as_raw_fd());
    sh(&lab.router, &DROP.replace("RULE", "icmp type echo-request drop"));
    for place in [pid.as_str(), file.as_str()] {
        let document = told(typed(&["diagnose", B[0], "--netns", place, "-c", "5", "--format", "json"]));
        stopped_in(&document, &lab.router, "request", "netfilter", place);
        assert_eq!(document["sides"]["local"]["address"], "10.81.0.10", "{place}: {document:#}");
    }
    sh(&lab.a, &DROP.replace("forward", "output").replace("RULE", "icmp type echo-request drop"));
    let document = told(typed(&["diagnose", B[0], "--netns", &pid, "-c", "5", "--format", "json"]));
    let commands = document["stops"][0]["commands"].as_array().expect("commands").iter();
    let commands: Vec<&str> = commands.map(|command| command["command"].as_str().expect("a command")).collect();
    assert_eq!(commands[0], format!("nsenter -t {pid} -n nft list chain inet filter output"), "{commands:#?}");
    let again = format!("probe diagnose {} --netns {pid} -c 5 --trace-rules", B[0]);
    assert!(commands.contains(&again.as_str()), "{commands:#?}");
}

#[test]
fn a_container_is_found_in_the_state_of_its_runtime() {
    let Some(lab) = routed("a_container_is_found_in_the_state_of_its_runtime") else { return };
    let resident = Resident::of(&lab.a);
    let (pid, probe) = (resident.0.id(), env!("CARGO_BIN_EXE_probe"));
    let id = "3f2a4b5c6d7e8f900112233445566778899aabbccddeeff00112233445566778";
    // A mount namespace of its own, in which docker keeps one container.
    let script = |wanted: &str| {
        let folder = format!("/var/lib/docker/containers/{id}");
        format!(
            r#"mount -t tmpfs none /var/lib && mkdir -p {folder} &&
               echo '{{"ID":"{id}","Name":"/web","State":{{"Running":true,"Pid":{pid}}}}}' > {folder}/config.v2.json &&
               exec {probe} diagnose {} --container {wanted} -c 5 --format json"#,
            B[0]
        )
    };
    for wanted in ["web", "3f2a"] {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script(wanted)]).env_remove("PROBE_OWN_NAMESPACE");
        let document = told(command);
        assert_eq!(document["verdict"]["outcome"], "delivered", "{wanted}: {document:#}");
        assert_eq!(document["sides"]["local"]["address"], "10.81.0.10", "{wanted}: {document:#}");
    }
}

#[test]
fn a_place_that_cannot_be_entered_is_one_sentence_with_its_fix() {
    if !crate::common::is_root("a_place_that_cannot_be_entered_is_one_sentence_with_its_fix") {
        return;
    }
    for (words, error) in [
        (["--netns", "no-such-place"], "there is no network namespace 'no-such-place'"),
        (["--netns", "4294967295"], "there is no process 4294967295"),
        (["--netns", "/dev/null"], "/dev/null is not a network namespace"),
        (["--container", "no-such-container"], "there is no container 'no-such-container' on this host"),
    ] {
        for verb in [vec!["diagnose", B[0]], vec!["send", "request", B[0]], vec!["observe", "-I", "eth0"]] {
            let output = typed(&[verb.as_slice(), &words].concat()).output().expect("it starts");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{verb:?} {words:?}: {said}");
            assert!(said.starts_with(&format!("probe: {error}")) && said.contains(" — "), "{verb:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{verb:?}: {said}");
        }
    }
}
