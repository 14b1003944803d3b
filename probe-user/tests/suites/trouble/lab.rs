//! `probe lab` end to end: the experiments on real counters, and nothing left, however it ends.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};
use probe_user::{ebpf::bpf_sys::program_by_id, lab::Netns};
use serde_json::Value;

use crate::common::{
    is_root,
    net::{PATIENCE, eventually, own_mounts, sh},
    run::{Ran, Running, command, probe},
};

fn here() -> Netns {
    Netns::new().expect("root can")
}

/// Packets at the checkpoints of one kind and id name, in path order.
fn packets(experiment: &Value, kind: &str, id: u64) -> Vec<u64> {
    let checkpoints = experiment["checkpoints"].as_array().expect("an array");
    let of = checkpoints.iter().filter(|checkpoint| checkpoint["kind"] == kind && checkpoint["id"] == id);
    of.map(|checkpoint| checkpoint["packets"].as_u64().unwrap_or(0)).collect()
}

#[test]
fn the_four_experiments_come_out_as_the_design_says() {
    if !is_root("the_four_experiments_come_out_as_the_design_says") {
        return;
    }
    let document = probe(&here(), "lab --format json").done().json();
    assert_eq!((&document["schema"], &document["as_expected"]), (&"probe.experiment/1".into(), &true.into()));
    let runs = document["experiments"].as_array().expect("an array");
    let names: Vec<_> = runs.iter().filter_map(|run| run["name"].as_str()).collect();
    let each = ["normal", "reply-only", "many-replies", "id-mismatch"];
    assert_eq!(names, each.iter().flat_map(|name| [*name, *name]).collect::<Vec<_>>());
    for run in runs {
        let id_of = |name: &str| {
            let steps = run["steps"].as_array().expect("an array").iter();
            steps.filter(|step| step["id_name"] == name).find_map(|step| step["id"].as_u64()).expect("an id")
        };
        let requests = packets(run, "request", id_of("X"));
        let replies = packets(run, "reply", id_of("X"));
        let through = |count: u64| vec![count; 4];
        match run["name"].as_str().expect("a name") {
            "normal" => assert_eq!((requests, replies), (through(1), through(1)), "{run}"),
            "reply-only" => assert_eq!((requests, replies), (vec![], vec![3, 3, 0, 0]), "{run}"),
            "many-replies" => assert_eq!((requests, replies), (through(1), through(5)), "{run}"),
            _ => {
                assert_eq!((requests, replies), (through(1), through(1)), "{run}");
                assert_eq!(packets(run, "reply", id_of("Y")), [1, 1, 0, 0], "{run}");
            }
        }
    }
}

#[test]
fn one_experiment_is_told_in_words() {
    if !is_root("one_experiment_is_told_in_words") {
        return;
    }
    let ran = probe(&here(), "lab id-mismatch").done();
    assert!(ran.stdout.contains("id-mismatch") && !ran.stdout.contains("reply-only"), "{ran:?}");
    assert!(
        ran.stdout.contains("1 reply Y stopped inside fw: fw:b (xdp_in) counted it, fw:a (tc_out) did not"),
        "{ran:?}"
    );
    assert!(ran.stdout.ends_with("2 of 2 runs came out as designed.\n"), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert_eq!(probe(&here(), "lab normal -q").done().stderr, "");
}

/// What a lab that runs holds in the kernel: its programs, and a veth whose far end is in one of its namespaces.
struct Held {
    programs: BTreeSet<u32>,
    witness: Netns,
}

impl Held {
    /// Of the process `pid`, once its programs are attached; `None` where it ends before.
    fn of(pid: u32) -> Option<Self> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let programs = programs_of(pid)?;
            if programs.len() >= 8
                && let Some(witness) = witness(pid)
            {
                return Some(Self { programs, witness });
            }
        }
        panic!("the lab attaches nothing");
    }

    fn is_gone(&self) -> bool {
        let seen = sh(&self.witness, "cat /proc/thread-self/net/dev").contains("w0:");
        !seen && self.programs.iter().all(|id| program_by_id(*id).is_err())
    }
}

/// The ids of the programs that a process has open; `None` once it has ended.
fn programs_of(pid: u32) -> Option<BTreeSet<u32>> {
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).ok()?;
    let texts = files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    let ids = texts.flat_map(|text| {
        let of_line = |line: &str| line.strip_prefix("prog_id:")?.trim().parse().ok();
        text.lines().filter_map(of_line).collect::<Vec<u32>>()
    });
    Some(ids.collect())
}

/// A namespace with `w0`, whose other end is in a namespace that the process holds: they go together.
fn witness(pid: u32) -> Option<Netns> {
    let ours = fs::read_link("/proc/self/ns/net").ok()?;
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(Result::ok);
    let theirs = files.filter(|file| {
        fs::read_link(file.path()).is_ok_and(|target| target != ours && target.to_string_lossy().starts_with("net:["))
    });
    let held = theirs.map(|file| file.path()).next()?;
    let witness = here();
    sh(&witness, "ip link add w0 type veth peer name w1");
    let moved = witness.command("ip").args(["link", "set", "w1", "netns"]).arg(held).output().ok()?;
    moved.status.success().then_some(witness)
}

#[test]
fn kill_9_leaves_no_namespace_no_link_and_no_program() {
    if !is_root("kill_9_leaves_no_namespace_no_link_and_no_program") {
        return;
    }
    let mut seen = 0;
    for pause in [0, 50, 200] {
        let running = Running::of(command(&here(), "lab"));
        let Some(held) = Held::of(running.pid()) else { continue };
        assert!(!held.is_gone());
        thread::sleep(Duration::from_millis(pause));
        running.end_with(Signal::SIGKILL);
        eventually("all is gone", || held.is_gone());
        seen += 1;
    }
    assert!(seen > 0, "the lab was never caught at work");
}

#[test]
fn ctrl_c_in_the_middle_tells_what_was_learned_and_leaves_nothing() {
    if !is_root("ctrl_c_in_the_middle_tells_what_was_learned_and_leaves_nothing") {
        return;
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let running = Running::of(command(&here(), "lab --format json"));
        let held = Held::of(running.pid());
        running.signal(signal);
        let ran = running.wait();
        let document = ran.json();
        let runs = document["experiments"].as_array().expect("an array").len();
        assert_eq!(document["schema"], "probe.experiment/1");
        // On a slow machine it may be done before it is interrupted.
        assert!(ran.code == 130 && runs < 8 || ran.code == 0 && runs == 8, "{signal}: {} {runs}", ran.code);
        if let Some(held) = held {
            eventually("all is gone", || held.is_gone());
        }
    }
    let at_once = Running::of(command(&here(), "lab"));
    thread::sleep(Duration::from_millis(20));
    let ran = at_once.end_with(Signal::SIGINT);
    assert_eq!(ran.code, 130, "{ran:?}");
    assert!(!ran.stdout.contains("0 of 0"), "{ran:?}");
}

#[test]
fn without_nft_it_says_what_installs_it() {
    if !is_root("without_nft_it_says_what_installs_it") {
        return;
    }
    own_mounts();
    let netns = here();
    // Where nft is looked for when the search path has none.
    mount(Some("tmpfs"), "/usr/sbin", Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("an empty /usr/sbin");
    for words in ["lab", "lab normal --format json"] {
        let ran = Ran::of(command(&netns, words).env("PATH", "/nonexistent").output().expect("probe starts"));
        assert_eq!((ran.code, ran.stderr.lines().count()), (2, 1), "{ran:?}");
        assert!(ran.stderr.contains("nft is not installed, and the lab's firewall needs it — "), "{ran:?}");
        assert!(ran.stderr.contains("apt-get install nftables"), "{ran:?}");
        if words.contains("json") {
            assert_eq!(ran.json()["schema"], "probe.error/1");
        }
    }
}
