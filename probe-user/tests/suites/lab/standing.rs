//! `probe lab up`, `down` and `exec`, each test with a `/run` of its own.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::common::net::eventually;

use super::run::{as_nobody, expect, expect_bare, output, probe, ready};

/// The names that `ip netns` shows.
fn names() -> Vec<String> {
    let listed = Command::new("ip").args(["netns", "list"]).output().expect("ip");
    let mut names: Vec<_> = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_lab_goes_up_is_used_and_goes_down() {
    if !ready("a_lab_goes_up_is_used_and_goes_down") {
        return;
    }
    assert!(expect(&["lab", "up"], 0).starts_with("The lab is running."));
    assert_eq!(names(), ["probe-a", "probe-b", "probe-fw"]);
    expect(&["lab", "exec", "a", "--", "ping", "-c1", "-W2", "10.78.0.20"], 0);
    expect(&["lab", "exec", "a", "--", "ping", "-c1", "-W2", "fd77:0:0:b::20"], 0);
    expect(&["lab", "exec", "b", "--", "ping", "-c1", "-W1", "10.77.0.10"], 1);
    expect(&["lab", "exec", "b", "--", "ping", "-c1", "-W1", "fd77:0:0:a::10"], 1);
    let rules = expect(&["lab", "exec", "fw", "--", "nft", "list", "ruleset"], 0);
    assert!(rules.contains("table inet probe_lab"), "{rules}");
    assert!(expect(&["lab", "up"], 0).starts_with("The lab was running already, and is unchanged."));
    assert!(expect(&["lab", "down"], 0).starts_with("The lab is removed; nothing of it is left."));
    expect_bare();
    assert!(expect(&["lab", "down"], 0).starts_with("The lab was not running"));
    expect_bare();
}

#[test]
fn machines_are_told_in_json_whatever_happens() {
    if !ready("machines_are_told_in_json_whatever_happens") {
        return;
    }
    let json = |words: &[&str]| -> serde_json::Value {
        serde_json::from_slice(&output(&[&["--format", "json"], words].concat()).stdout).expect("one document")
    };
    let refused = json(&["lab", "exec", "a", "--", "true"]);
    assert_eq!((&refused["schema"], &refused["fix"]), (&"probe.error/1".into(), &"probe lab up".into()));
    let up = json(&["lab", "up"]);
    assert_eq!((&up["schema"], &up["result"]), (&"probe.lab/1".into(), &"made".into()));
    assert_eq!(
        up["hosts"][0],
        serde_json::json!({
            "host": "a", "namespace": "probe-a",
            "interfaces": [{"interface": "eth0", "addresses": ["10.77.0.10", "fd77:0:0:a::10"]}],
        })
    );
    assert_eq!(json(&["lab", "up"])["result"], "already_up");
    // Options of the command are its own: those of probe come before `--`, at any place there.
    let missing = output(&["lab", "--format", "json", "exec", "a", "--", "no-such-command"]);
    assert_eq!(missing.status.code(), Some(127));
    let error: serde_json::Value = serde_json::from_slice(&missing.stdout).expect("one document");
    assert_eq!(error["error"], "no-such-command: command not found");
    assert_eq!(json(&["lab", "down"])["result"], "removed");
    assert_eq!(json(&["lab", "down"])["result"], "already_down");
}

#[test]
fn exec_ends_as_its_command_does() {
    if !ready("exec_ends_as_its_command_does") {
        return;
    }
    let text = expect(&["lab", "exec", "a", "--", "true"], 2);
    assert_eq!(text, "probe: the lab is not running — probe lab up\n");
    expect(&["lab", "up"], 0);
    expect(&["lab", "exec", "a", "--", "sh", "-c", "exit 7"], 7);
    assert!(expect(&["lab", "exec", "a", "--", "no-such-command"], 127).contains("no-such-command: command not found"));
    assert!(expect(&["lab", "exec", "a", "--", "/etc/passwd"], 126).contains("cannot run /etc/passwd"));
    let killed = output(&["lab", "exec", "a", "--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(killed.status.signal(), Some(15));
    let piped = probe(&["lab", "exec", "b", "--", "cat"]).stdin(Stdio::null()).output().expect("probe runs");
    assert!(piped.status.success());
    expect(&["lab", "down"], 0);
}

#[test]
fn a_signal_reaches_the_command_and_its_answer_is_the_answer() {
    if !ready("a_signal_reaches_the_command_and_its_answer_is_the_answer") {
        return;
    }
    expect(&["lab", "up"], 0);
    let script = "trap 'exit 42' INT; echo ready; while :; do sleep 0.05; done";
    let mut child =
        probe(&["lab", "exec", "a", "--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().expect("probe runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("SIGINT");
    eventually("it ends", || child.try_wait().expect("it is there").is_some());
    assert_eq!(child.wait().expect("it ends").code(), Some(42));
    expect(&["lab", "down"], 0);
}

#[test]
fn down_names_what_still_runs_inside() {
    if !ready("down_names_what_still_runs_inside") {
        return;
    }
    expect(&["lab", "up"], 0);
    let mut child = probe(&["lab", "exec", "b", "--", "sleep", "30"]).spawn().expect("probe runs");
    // probe becomes sleep.
    while fs::read_to_string(format!("/proc/{}/comm", child.id())).expect("it runs") != "sleep\n" {
        thread::sleep(Duration::from_millis(2));
    }
    let text = expect(&["lab", "down"], 0);
    assert!(text.contains(&format!("Process {} (sleep) still runs on b", child.id())), "{text}");
    expect_bare();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

#[test]
fn what_others_named_is_refused_and_left_alone() {
    if !ready("what_others_named_is_refused_and_left_alone") {
        return;
    }
    let ip = |words: &[&str]| assert!(Command::new("ip").args(words).status().expect("ip").success());
    ip(&["netns", "add", "probe-fw"]);
    let text = expect(&["lab", "up"], 2);
    assert_eq!(
        text,
        "probe: a network namespace named probe-fw exists already, and the lab did not create it — \
         if nothing needs it: ip netns delete probe-fw\n"
    );
    assert!(expect(&["lab", "down"], 0).contains("probe-fw does not belong to the lab and was left alone"));
    assert_eq!(names(), ["probe-fw"]);
    ip(&["netns", "delete", "probe-fw"]);
    // The folder and its mount are now those of ip: down leaves them.
    ip(&["netns", "add", "other"]);
    expect(&["lab", "up"], 0);
    expect(&["lab", "down"], 0);
    assert_eq!(names(), ["other"]);
}

#[test]
fn a_namespace_that_took_the_place_of_the_labs_is_not_the_labs() {
    if !ready("a_namespace_that_took_the_place_of_the_labs_is_not_the_labs") {
        return;
    }
    let ip = |words: &[&str]| assert!(Command::new("ip").args(words).status().expect("ip").success());
    expect(&["lab", "up"], 0);
    ip(&["netns", "delete", "probe-b"]);
    assert!(expect(&["lab", "exec", "b", "--", "true"], 2).contains("the lab is incomplete — probe lab up"));
    ip(&["netns", "add", "probe-b"]);
    assert!(expect(&["lab", "up"], 2).contains("probe-b exists already"));
    assert!(expect(&["lab", "down"], 0).contains("probe-b does not belong to the lab"));
    assert_eq!(names(), ["probe-b"]);
}

#[test]
fn a_lab_that_was_changed_is_not_called_up() {
    if !ready("a_lab_that_was_changed_is_not_called_up") {
        return;
    }
    let in_fw = |words: &[&str]| expect(&[&["lab", "exec", "fw", "--"], words].concat(), 0);
    expect(&["lab", "up"], 0);
    in_fw(&["nft", "add", "rule", "inet", "probe_lab", "forward", "counter", "drop"]);
    in_fw(&["ip", "address", "add", "192.0.2.1/24", "dev", "a"]);
    in_fw(&["sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"]);
    let text = expect(&["lab", "up"], 2);
    for change in ["fw lacks net.ipv4.ip_forward=1", "fw has address 192.0.2.1/24 on a", "drop'"] {
        assert!(text.contains(change), "{change}: {text}");
    }
    in_fw(&["ip", "link", "delete", "dev", "b"]);
    assert!(expect(&["lab", "up"], 2).contains("no interface b"));
    expect(&["lab", "exec", "b", "--", "true"], 0);
    expect(&["lab", "down"], 0);
    expect_bare();
}

#[test]
fn without_privilege_one_sentence_says_which() {
    if !ready("without_privilege_one_sentence_says_which") {
        return;
    }
    let told = |words: &[&str]| {
        let output = as_nobody(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(
        told(&["lab", "up"]),
        "probe: not allowed to make /run/probe/lab: CAP_SYS_ADMIN is needed — run it with sudo\n"
    );
    assert!(as_nobody(&["lab", "down"]).status.success(), "there is nothing to remove");
    expect(&["lab", "up"], 0);
    for words in [&["lab", "down"][..], &["lab", "up"], &["lab", "exec", "a", "--", "true"]] {
        let text = told(words);
        assert!(text.contains("CAP_SYS_ADMIN is needed — run it with sudo") && text.lines().count() == 1, "{text}");
    }
    expect(&["lab", "down"], 0);
}

#[test]
fn without_nft_the_lab_says_what_installs_it() {
    if !ready("without_nft_the_lab_says_what_installs_it") {
        return;
    }
    // An empty folder over each place where nft could be, in this test's own mounts.
    for folder in ["/usr/sbin", "/sbin"] {
        let hidden = Command::new("mount").args(["-t", "tmpfs", "tmpfs", folder]).status().expect("mount");
        assert!(hidden.success());
    }
    let output = probe(&["lab", "up"]).env("PATH", "/usr/bin:/bin").output().expect("probe runs");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        text,
        "probe: nft is not installed, and the lab's firewall needs it — \
         apt-get install nftables (or run cargo xtask setup)\n"
    );
    assert!(expect(&["lab", "down"], 0).contains("was not running"));
    expect_bare();
}
