//! `probe run`: the command stays what it is, and its echoes alone are followed.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use probe_user::lab::Netns;
use serde_json::Value;

use super::{Pinging, drop_at, flow, flows, pair};
use crate::common::{
    net::{B4, eventually, sh},
    run::{Ran, command},
};

/// `probe run FLAGS -- sh -c SCRIPT` inside.
fn shell(netns: &Netns, flags: &str, script: &str) -> Command {
    let mut command = command(netns, &format!("run --format json {flags}"));
    command.args(["--", "sh", "-c", script]);
    command
}

fn ran(netns: &Netns, flags: &str, script: &str) -> Ran {
    Ran::of(shell(netns, flags, script).output().expect("probe starts"))
}

/// The verdict, which stands behind whatever the command printed there.
fn verdict(ran: &Ran) -> Value {
    let line = ran.stderr.lines().last().unwrap_or_else(|| panic!("no verdict: {ran:?}"));
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn a_commands_output_and_status_are_its_own_and_its_echoes_alone_are_followed() {
    let Some(pair) = pair("a_commands_output_and_status_are_its_own_and_its_echoes_alone_are_followed") else { return };
    sh(
        &pair.a,
        "nft add table inet n && nft 'add chain inet n c { type filter hook output priority 0; }'
         nft add rule inet n c icmp type echo-request icmp id 21 counter",
    );
    // Somebody else's, to the same host and with the same id as one of ours.
    let _other = Pinging::start(&pair.a, &format!("-e 22 {B4}"));
    let script = format!(
        "read line; echo \"got $line\"; echo heard >&2; ping -n -q -c 4 -i 0.05 -e 21 {B4} >/dev/null
         (ping -n -q -c 3 -i 0.05 -e 22 {B4} &) | grep transmitted >&2; exit 5"
    );
    let mut child = shell(&pair.a, "", &script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("probe starts");
    child.stdin.take().expect("a pipe").write_all(b"this\n").expect("it reads");
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.stdout.as_str()), (5, "got this\n"), "{ran:?}");
    assert!(ran.stderr.starts_with("heard\n"), "{ran:?}");
    let document = verdict(&ran);
    assert_eq!(document["verdict"]["outcome"], "delivered", "{document:#}");
    // That of the orphan too, but not that of somebody else, whatever its id.
    assert_eq!(flows(&document).len(), 2, "{document:#}");
    // Replies to somebody else with its id count for it: it may end before its third request.
    let word = ran.stderr.lines().find_map(|line| line.split_once(" packets transmitted")?.0.parse::<u64>().ok());
    let sent = word.expect("ping says how many it sent");
    assert_eq!((&flow(&document, 21)["requests"], &flow(&document, 22)["requests"]), (&4.into(), &sent.into()));
    assert!(sh(&pair.a, "nft list chain inet n c").contains("counter packets 4 "), "nothing but the ping sends");
}

#[test]
fn a_lost_ping_keeps_its_status_and_the_verdict_names_the_rule() {
    let Some(pair) = pair("a_lost_ping_keeps_its_status_and_the_verdict_names_the_rule") else { return };
    drop_at(&pair.b, "input", "icmp type echo-request");
    let far = ran(&pair.a, "", &format!("ping -n -c 2 -i 0.1 -W 1 {B4}; exit $?"));
    assert!(far.code == 1 && far.stdout.contains("100% packet loss"), "{far:?}");
    let document = verdict(&far);
    assert_eq!((&document["stops"][0]["host"], &document["sent"]), (&"beyond".into(), &2.into()), "{document:#}");
    drop_at(&pair.a, "output", "icmp type echo-request");
    // `ping` makes a status of its own of the refusal; the verdict's is asked for.
    let near = ran(&pair.a, "--exit-code", &format!("ping -n -c 2 -i 0.1 -W 1 {B4}; exit 7"));
    assert_eq!(near.code, 1, "{near:?}");
    let stop = verdict(&near)["stops"][0].clone();
    assert_eq!((&stop["host"], &stop["cause"]["netfilter"]["hook"]), (&"local".into(), &"output".into()), "{stop:#}");
}

#[test]
fn a_command_that_pings_nobody_or_cannot_be_run_has_the_status_of_a_shell() {
    let Some(pair) = pair("a_command_that_pings_nobody_or_cannot_be_run_has_the_status_of_a_shell") else { return };
    let nobody = ran(&pair.a, "", "kill -TERM $$");
    assert_eq!((nobody.code, &verdict(&nobody)["sent"]), (143, &0.into()), "{nobody:?}");
    for (word, code, says) in
        [("no-such-command", 127, "there is no command"), ("/etc/passwd", 126, "cannot be executed")]
    {
        let ran = Ran::of(command(&pair.a, &format!("run {word}")).output().expect("probe starts"));
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(says) && ran.stderr.lines().count() == 1, "{ran:?}");
    }
}

#[test]
fn a_signal_is_the_commands_and_the_verdict_comes_after_it() {
    let Some(pair) = pair("a_signal_is_the_commands_and_the_verdict_comes_after_it") else { return };
    let mut child = command(&pair.a, "run --format json")
        .args(["--", "ping", "-n", "-i", "0.05", &B4.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("probe starts");
    // A line of the ping: it is under way.
    let mut first = [0; 64];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("ping prints");
    let pid = i32::try_from(child.id()).expect("a process");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert!(ran.code == 0 && ran.stdout.contains("packets transmitted"), "{ran:?}");
    let document = verdict(&ran);
    assert_eq!(document["verdict"]["outcome"], "delivered", "{document:#}");
}

#[test]
fn a_process_that_runs_already_is_followed_until_it_ends() {
    let Some(pair) = pair("a_process_that_runs_already_is_followed_until_it_ends") else { return };
    sh(
        &pair.a,
        "nft add table inet p && nft 'add chain inet p c { type filter hook output priority 0; }'
         nft add rule inet p c icmp type echo-request icmp id 31 counter",
    );
    let requests = || -> u64 {
        let text = sh(&pair.a, "nft list chain inet p c");
        let count = text.split("counter packets ").nth(1).and_then(|rest| rest.split(' ').next());
        count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no counter: {text}"))
    };
    let ping = Pinging::start(&pair.a, &format!("-e 31 {B4}"));
    let _other = Pinging::start(&pair.a, &format!("-e 32 {B4}"));
    let pid = ping.0.id();
    let mut command = command(&pair.a, &format!("run --format json -p {pid}"));
    let mut child = command.stderr(Stdio::piped()).spawn().expect("probe starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines().map(|line| line.expect("UTF-8"));
    // Every hop is watched.
    let first = lines.next().expect("a line");
    assert!(first.starts_with(&format!("probe: following ping (pid {pid})")), "{first}");
    let before = requests();
    eventually("some are sent while it is followed", || requests() >= before + 3);
    drop(ping);
    let last = lines.last().expect("a verdict");
    assert!(child.wait().expect("it ends").success(), "{last}");
    let document: Value = serde_json::from_str(&last).unwrap_or_else(|error| panic!("{error}: {last}"));
    assert_eq!((flows(&document).len(), &flow(&document, 31)["pid"]), (1, &pid.into()), "{document:#}");
    assert!(document["sent"].as_u64().is_some_and(|sent| sent >= 3), "{document:#}");
    let none = super::probe(&pair.a, "run -p 4194303");
    assert!(none.code == 2 && none.stderr.contains("there is no process 4194303"), "{none:?}");
}
