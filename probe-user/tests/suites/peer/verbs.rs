//! `probe diagnose` and `probe agent` as processes, in the lab, with a fake in place of the kernel where one watches.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::MetadataExt,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use probe_ebpf::Family;
use probe_user::{
    lab::{LabHost, Netns, Topology},
    peer::protocol::Hello,
};
use serde_json::Value;

use super::{
    children::{self, DIAGNOSE},
    probes::{address, lab, sh, unlimited_errors},
};

const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// The report of the fake's `probe diagnose WORDS --format json`, which stands behind what the test harness prints.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn json(&self) -> Value {
        let start = self.stdout.find("{\"schema\"").unwrap_or_else(|| panic!("{} {}", self.stdout, self.stderr));
        serde_json::from_str(self.stdout[start..].trim()).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

fn command(netns: &Netns, words: &str) -> Command {
    let line = children::command(DIAGNOSE, &format!("{words} --format json"), "fake_diagnose");
    let mut command = netns.command("sh");
    command.args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn diagnose(lab: &Topology, words: &str) -> Ran {
    Ran::new(command(lab.netns(LabHost::A), words).output().expect("it starts"))
}

#[test]
fn the_real_agent_says_hello_and_goes_with_its_input() {
    let mut agent = Command::new(PROBE)
        .args(["agent"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("probe starts");
    let mut line = String::new();
    BufReader::new(agent.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a pipe");
    let hello = Hello::in_line(&line).expect("a hello").expect("readable");
    assert!(hello.check().is_ok());
    drop(agent.stdin.take());
    assert_eq!(agent.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_real_agent_says_what_it_does_not_understand() {
    let mut agent = Command::new(PROBE)
        .args(["agent"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("probe starts");
    agent.stdin.as_mut().expect("a pipe").write_all(b"hello?\n").expect("it reads");
    let output = agent.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("\"hello?\"") && stderr.contains("--peer CMD"), "{stderr}");
}

#[test]
fn two_ends_diagnose_a_healthy_path() {
    let Some(lab) = lab("two_ends_diagnose_a_healthy_path") else { return };
    for family in [Family::V4, Family::V6] {
        let b = address(LabHost::B, family);
        let ran = diagnose(&lab, &format!("{b} -c 4 -i 0.002 --peer %serving%"));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let json = ran.json();
        assert_eq!((&json["answered"], &json["verdict"]["outcome"]), (&4.into(), &"delivered".into()), "{json}");
        assert_eq!(json["sides"]["local"]["interface"], "eth0");
        assert_eq!(json["sides"]["local"]["address"], address(LabHost::A, family).to_string());
        // The agent runs in A's namespace here: the way back to A's address is lo.
        assert_eq!(json["sides"]["peer"]["address"], b.to_string());
        assert!(ran.stderr.contains("peer: the agent ends: true"), "{}", ran.stderr);
    }
}

#[test]
fn a_far_end_that_dies_in_the_middle_leaves_a_verdict_of_one_end() {
    let Some(lab) = lab("a_far_end_that_dies_in_the_middle_leaves_a_verdict_of_one_end") else { return };
    sh(&lab, LabHost::B, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1");
    let b = address(LabHost::B, Family::V4);
    let ran = diagnose(&lab, &format!("{b} -c 2 -i 0.002 -W 0.5 --peer %dying%"));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.json()["sides"]["peer"].is_null());
    assert!(ran.stderr.contains("the far end is gone (exit status 3: something broke)"), "{}", ran.stderr);
}

#[test]
fn what_stops_is_exit_1_with_every_errno_and_router() {
    let Some(lab) = lab("what_stops_is_exit_1_with_every_errno_and_router") else { return };
    unlimited_errors(&lab);
    let (b, fw) = (address(LabHost::B, Family::V4), address(LabHost::Fw, Family::V4).to_string());
    let ran = diagnose(&lab, &format!("{b} -c 3 -i 0.002 -t 1 --walk -e 0x2b"));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let json = ran.json();
    let cause = &json["stops"][0]["cause"];
    assert_eq!((&json["sent"], &json["stops"][0]["packets"]), (&3.into(), &3.into()), "{json}");
    assert_eq!((&cause["reason"], &cause["icmp"]["from"]), (&"icmp 11/0".into(), &fw.as_str().into()), "{json}");
    let walked = json["notes"].to_string();
    assert!(walked.contains(&fw) && walked.contains(&b.to_string()), "the walk is told: {json}");

    sh(&lab, LabHost::A, "ip route del default");
    let ran = diagnose(&lab, &format!("{b} -c 3 -i 0.002"));
    let json = ran.json();
    let cause = &json["stops"][0]["cause"];
    assert_eq!((ran.code, &cause["reason"]), (Some(1), &"ENETUNREACH".into()), "{json}");
    assert_eq!(json["sides"]["local"]["interface"], "");
}

#[test]
fn a_target_on_this_host_goes_by_the_loopback() {
    let Some(lab) = lab("a_target_on_this_host_goes_by_the_loopback") else { return };
    for family in [Family::V4, Family::V6] {
        let ran = diagnose(&lab, &format!("{} -c 2 -i 0", address(LabHost::A, family)));
        assert_eq!((ran.code, &ran.json()["sides"]["local"]["interface"]), (Some(0), &"lo".into()), "{}", ran.stderr);
    }
}

#[test]
fn an_interface_that_does_not_carry_the_route_is_where_probes_stop_as_those_of_ping_do() {
    let Some(lab) = lab("an_interface_that_does_not_carry_the_route_is_where_probes_stop_as_those_of_ping_do") else {
        return;
    };
    sh(
        &lab,
        LabHost::A,
        "ip link add side type veth peer name edis && ip addr add 10.99.0.1/24 dev side && ip link set side up",
    );
    sh(&lab, LabHost::A, "ip -6 addr add fd99::1/64 dev side nodad");
    for family in [Family::V4, Family::V6] {
        let b = address(LabHost::B, family);
        let ran = diagnose(&lab, &format!("{b} -I side -c 2"));
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let json = ran.json();
        assert_eq!((&json["sent"], &json["answered"]), (&2.into(), &0.into()), "{json}");
        let ran = diagnose(&lab, &format!("{b} -I eth0 -c 2 -i 0"));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
}

#[test]
fn ctrl_c_while_answers_are_awaited_prints_what_was_learned() {
    let Some(lab) = lab("ctrl_c_while_answers_are_awaited_prints_what_was_learned") else { return };
    sh(&lab, LabHost::B, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1");
    let b = address(LabHost::B, Family::V4);
    let before = requests_at(&lab, LabHost::B);
    let all_sent = || requests_at(&lab, LabHost::B) == before + 3;
    let ran = interrupted(&lab, &format!("{b} -c 3 -i 0.002 -W 100 --peer %serving%"), all_sent);
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    let json = ran.json();
    assert_eq!(json["sent"], 3, "{json}");
    assert!(json["sides"]["peer"].is_object(), "the far end still tells what it saw: {}", ran.stderr);
}

#[test]
fn ctrl_c_while_the_far_end_hangs_says_that_nothing_was_sent() {
    let Some(lab) = lab("ctrl_c_while_the_far_end_hangs_says_that_nothing_was_sent") else { return };
    let b = address(LabHost::B, Family::V4);
    let inode = lab.netns(LabHost::A).inode();
    let ran = interrupted(&lab, &format!("{b} --peer cat"), || processes(inode) >= 2);
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert_eq!(ran.json()["schema"], "probe.error/1");
}

#[test]
fn an_agent_does_not_outlive_a_controller_that_is_killed() {
    let Some(lab) = lab("an_agent_does_not_outlive_a_controller_that_is_killed") else { return };
    sh(&lab, LabHost::B, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1");
    let b = address(LabHost::B, Family::V4);
    let netns = lab.netns(LabHost::A);
    let mut child = command(netns, &format!("{b} -W 100 --peer %serving%")).spawn().expect("it starts");
    wait_until("both run", || processes(netns.inode()) == 2);
    child.kill().expect("it is our child");
    child.wait().expect("it was killed");
    wait_until("both are gone", || processes(netns.inode()) == 0);
}

/// How many processes are in a network namespace; those that are dead and not yet reaped are in none.
fn processes(inode: u64) -> usize {
    let all = fs::read_dir("/proc").expect("it is mounted").filter_map(Result::ok);
    all.filter(|entry| fs::metadata(entry.path().join("ns/net")).is_ok_and(|netns| netns.ino() == inode)).count()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < until, "not yet: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How many IPv4 echo requests have reached a host, answered or not.
fn requests_at(lab: &Topology, host: LabHost) -> u64 {
    let text = lab.netns(host).run(|| fs::read_to_string("/proc/thread-self/net/snmp"));
    let text = text.expect("the namespace is there").expect("its counters");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IcmpMsg:"));
    let (Some(names), Some(counts)) = (lines.next(), lines.next()) else { return 0 };
    let mut pairs = names.split_whitespace().zip(counts.split_whitespace());
    pairs.find(|(name, _)| *name == "InType8").map_or(0, |(_, count)| count.parse().expect("a number"))
}

/// Runs it and presses Ctrl-C once it is under way.
fn interrupted(lab: &Topology, words: &str, under_way: impl Fn() -> bool) -> Ran {
    let child = command(lab.netns(LabHost::A), words).spawn().expect("it starts");
    wait_until("it is under way", under_way);
    let pressed = Instant::now();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("it is our child");
    let ran = Ran::new(child.wait_with_output().expect("it ends"));
    assert!(pressed.elapsed() < Duration::from_secs(20), "{:?}", pressed.elapsed());
    ran
}

#[test]
fn nobody_is_told_which_capabilities_are_missing() {
    let Some(lab) = lab("nobody_is_told_which_capabilities_are_missing") else { return };
    let line = children::command(DIAGNOSE, "127.0.0.1", "fake_diagnose");
    let mut command = lab.netns(LabHost::A).command("setpriv");
    // The user stays root, who can read the test program wherever it is, and has no capability.
    command.args(["--bounding-set=-all", "--inh-caps=-all", "sh", "-c", &line]);
    let ran = Ran::new(command.output().expect("setpriv is there"));
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("probe diagnose needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_NET_RAW"),
        "{}",
        ran.stderr
    );
}

#[test]
fn bad_words_are_one_sentence_and_exit_2() {
    let run = |words: &str| {
        let output = Command::new(PROBE).arg("diagnose").args(words.split(' ')).output().expect("probe starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (words, says) in [
        ("10.0.0.1 --deploy", "--peer"),
        ("10.0.0.1 -s 65528", "0..=65527"),
        ("10.0.0.1 -c 1025", "1..=1024"),
        ("no-such-name.invalid", "does not resolve"),
        ("127.0.0.1 -I nope9", "no interface 'nope9'"),
    ] {
        let (code, stderr) = run(words);
        assert_eq!(code, Some(2), "{words}: {stderr}");
        assert!(stderr.contains(says) && stderr.lines().count() == 1, "{words}: {stderr}");
    }
}
