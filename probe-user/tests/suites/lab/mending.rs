//! Whatever interrupts `probe lab up` or `down`, and whenever, the next one mends it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::run::{expect, expect_bare, probe, ready};

#[test]
fn every_half_made_state_is_mended_by_up_and_by_down() {
    if !ready("every_half_made_state_is_mended_by_up_and_by_down") {
        return;
    }
    let states: [&[&str]; 5] = [
        &["umount /run/netns/probe-b", "rm /run/netns/probe-b"],
        &["umount /run/netns/probe-b"],
        &["umount /run/netns/probe-b", "umount /run/netns/probe-fw", "rm /run/netns/probe-fw /run/netns/probe-b"],
        &[
            "umount /run/netns/probe-a",
            "umount /run/netns/probe-b",
            "umount /run/netns/probe-fw",
            "rm /run/netns/probe-a /run/netns/probe-b /run/netns/probe-fw",
            "umount /run/netns",
            "rmdir /run/netns",
        ],
        &["mount --bind /run/netns/probe-a /run/netns/probe-a", "umount /run/netns/probe-b"],
    ];
    for broken in states {
        for mend in ["up", "down"] {
            expect(&["lab", "up"], 0);
            for command in broken {
                assert!(Command::new("sh").args(["-c", command]).status().expect("sh").success(), "{command}");
            }
            fs::write("/run/probe/lab/record.json.new", "{").expect("a draft");
            let text = expect(&["lab", mend], 0);
            if mend == "up" {
                assert!(text.contains("leftovers of an earlier one were removed"), "{broken:?}: {text}");
                expect(&["lab", "exec", "a", "--", "ping", "-c1", "-W2", "10.78.0.20"], 0);
            }
            expect(&["lab", "down"], 0);
            expect_bare();
        }
    }
}

/// Kills `probe lab VERB` as soon as `path` is there, or is not; the work goes on for about a millisecond after.
fn kill_when(verb: &str, path: &str, there: Presence) {
    let mut child = probe(&["lab", verb]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("probe runs");
    while Path::new(path).exists() != (there == Presence::There) && child.try_wait().expect("it is ours").is_none() {}
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    There,
    Gone,
}

#[test]
fn a_kill_between_any_two_steps_of_up_or_down_leaves_what_the_next_one_mends() {
    if !ready("a_kill_between_any_two_steps_of_up_or_down_leaves_what_the_next_one_mends") {
        return;
    }
    let steps = [
        "/run/probe/lab",
        "/run/probe/lab/record.json.new",
        "/run/probe/lab/record.json",
        "/run/netns",
        "/run/netns/probe-a",
        "/run/netns/probe-fw",
        "/run/netns/probe-b",
    ];
    for (round, step) in steps.into_iter().cycle().take(4 * steps.len()).enumerate() {
        kill_when("up", step, Presence::There);
        if round % 2 == 0 {
            expect(&["lab", "up"], 0);
            expect(&["lab", "exec", "a", "--", "ping", "-c1", "-W2", "10.78.0.20"], 0);
            kill_when("down", step, Presence::Gone);
        }
        expect(&["lab", "down"], 0);
        expect_bare();
    }
}

#[test]
fn ctrl_c_at_any_moment_leaves_the_lab_whole_or_gone() {
    if !ready("ctrl_c_at_any_moment_leaves_the_lab_whole_or_gone") {
        return;
    }
    for delay in (0..20_u64).map(|round| Duration::from_micros(1500 * round)) {
        let mut child = probe(&["lab", "up"]).stdout(Stdio::null()).spawn().expect("probe runs");
        thread::sleep(delay);
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("SIGINT");
        child.wait().expect("it ends");
        let text = expect(&["lab", "up"], 0);
        assert!(!text.contains("leftovers of an earlier one"), "after {delay:?}: {text}");
        expect(&["lab", "down"], 0);
    }
    expect_bare();
}

#[test]
fn two_at_once_make_one_lab() {
    if !ready("two_at_once_make_one_lab") {
        return;
    }
    let start = || probe(&["lab", "up"]).stdout(Stdio::piped()).spawn().expect("probe runs");
    let children = [start(), start(), start()];
    let mut texts: Vec<_> = children
        .into_iter()
        .map(|child| child.wait_with_output().expect("it ends"))
        .map(|output| String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
        .collect();
    texts.sort();
    let again = "The lab was running already, and is unchanged.";
    assert_eq!(texts, ["The lab is running.", again, again]);
    expect(&["lab", "down"], 0);
    expect_bare();
}

#[test]
fn a_record_from_before_the_machine_started_again_is_mended() {
    if !ready("a_record_from_before_the_machine_started_again_is_mended") {
        return;
    }
    expect(&["lab", "up"], 0);
    let path = "/run/probe/lab/record.json";
    let record = fs::read_to_string(path).expect("a record");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id");
    for name in ["probe-a", "probe-b", "probe-fw"] {
        assert!(Command::new("umount").arg(format!("/run/netns/{name}")).status().expect("umount").success());
    }
    fs::write(path, record.replace(boot.trim(), "another")).expect("written");
    assert!(expect(&["lab", "up"], 0).contains("leftovers of an earlier one were removed"));
    fs::write(path, "not JSON").expect("written");
    assert!(expect(&["lab", "down"], 2).contains("cannot be read"));
}
