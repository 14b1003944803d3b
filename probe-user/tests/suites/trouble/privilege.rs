//! Without privilege: which capabilities are missing, and how to get them.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use probe_user::lab::Netns;

use crate::common::{
    copy::Copy,
    is_root,
    net::{Pair, own_bpffs, programs},
    run::{Ran, Running},
};

#[test]
fn nobody_is_told_which_capabilities_are_missing() {
    if !is_root("nobody_is_told_which_capabilities_are_missing") {
        return;
    }
    own_bpffs();
    let pair = Pair::new();
    let copy = Copy::new();
    for words in ["observe -I vb", "receive", "filter list", "filter add -I vb -e 7", "filter remove 1", "filter clear"]
    {
        let verb = words.split(' ').next().expect("a verb");
        let ran = run_as_nobody(&copy, &pair.b, words);
        let told = format!(
            "probe: probe {verb} needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, which this process does not have — sudo probe {verb} …, or once: sudo setcap "
        );
        assert!(ran.code == 2 && ran.stdout.is_empty() && ran.stderr.starts_with(&told), "{words}: {ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{words}: {ran:?}");
        let json = run_as_nobody(&copy, &pair.b, &format!("{words} --format json")).json();
        assert_eq!(json["schema"], "probe.error/1", "{words}");
        assert!(json["fix"].as_str().is_some_and(|fix| fix.starts_with("sudo probe ")), "{words}: {json}");
    }
    for words in ["lab", "lab normal --format json"] {
        let ran = run_as_nobody(&copy, &pair.b, words);
        let told = "probe: probe lab needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN, which this process does not have — sudo probe lab\n";
        assert_eq!((ran.code, ran.stderr.as_str()), (2, told));
    }
    assert!(programs(&pair.b, "vb").is_empty());
}

/// Runs words with these capabilities only, as a user who is not root.
fn with_capabilities(pair: &Pair, copy: &Copy, capabilities: &str, words: &str) -> Command {
    let mut command = pair.b.command("setpriv");
    let set = format!("-all,{capabilities}");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps",
        &set,
        "--ambient-caps",
        &set,
        "--",
    ]);
    command.arg(copy.binary()).args(words.split(' '));
    command
}

#[test]
fn the_three_capabilities_are_enough_to_observe_and_receive() {
    if !is_root("the_three_capabilities_are_enough_to_observe_and_receive") {
        return;
    }
    let pair = Pair::new();
    let copy = Copy::new();
    let enough = "+bpf,+net_admin,+perfmon";
    for words in ["observe -I vb --once -i 0.1", "observe -I vb --once -i 0.1 --xdp off", "receive -I vb -W 0.1"] {
        let output = with_capabilities(&pair, &copy, enough, words).output().expect("setpriv is there");
        let ran = Ran::of(output).done();
        assert_eq!(ran.stderr.lines().count(), 1, "only what it does is said: {ran:?}");
    }
    let words = "observe -I vb -e 7";
    let lacking = with_capabilities(&pair, &copy, "+bpf,+net_admin", words).output().expect("setpriv is there");
    let ran = Ran::of(lacking);
    assert!(ran.code == 2 && ran.stderr.contains("probe observe needs CAP_PERFMON, which"), "{ran:?}");
    let mut running = Running::of(with_capabilities(&pair, &copy, enough, words));
    running.until("it watches", |_, stderr| stderr.contains("Ctrl-C ends it"));
    assert_eq!(running.end_with(Signal::SIGINT).code, 130);
    assert!(programs(&pair.b, "vb").is_empty());
}

#[test]
fn root_of_a_user_namespace_is_told_to_go_to_the_host() {
    if !is_root("root_of_a_user_namespace_is_told_to_go_to_the_host") {
        return;
    }
    let pair = Pair::new();
    for words in ["observe -I lo --once", "filter list", "lab"] {
        let mut unshare = pair.b.command("unshare");
        unshare.args(["--user", "--map-root-user", "--net", env!("CARGO_BIN_EXE_probe")]).args(words.split(' '));
        let ran = Ran::of(unshare.output().expect("unshare is there"));
        let told = "root of a container's own user namespace may not load kernel programs";
        assert!(ran.code == 2 && ran.stderr.contains(told) && ran.stderr.lines().count() == 1, "{words}: {ran:?}");
    }
}

/// The user and group that have no privilege.
const NOBODY: u32 = 65_534;

/// Runs `probe WORDS` inside, from a copy of the binary, as a user without any privilege.
fn run_as_nobody(copy: &Copy, netns: &Netns, words: &str) -> Ran {
    let mut command = Command::new(copy.binary());
    command.args(words.split_whitespace()).stdin(Stdio::null());
    let command = netns.run(|| command.uid(NOBODY).gid(NOBODY).output().expect("probe starts"));
    Ran::of(command.expect("the namespace is there"))
}
