//! A lab without names: what passes it, and that nothing of it is left whatever ends it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::IpAddr,
    panic,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use probe_ebpf::{Direction, Echo, Family, Kind};
use probe_user::{
    commands::lab::{RunListener, chosen, run_all},
    lab::{LabHost, Netns, Nic, Topology, lessons},
    middlebox::experiment::{Expect, StepRole},
    report::{
        self, Format, Style,
        experiment::{Counted, Experiment},
    },
    stop::StopSignal,
};

use super::echo::{Tap, send};
use crate::common;

/// Polls until `true`, at most `limit`.
fn eventually(limit: Duration, mut check: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if check() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Plays the four experiments in `lab`.
fn play(lab: &Topology) -> Experiment {
    let listener = RunListener { relay: Arc::new(|line: &str| println!("b: {line}")), progress: &|_, _, _| () };
    let program = Path::new(env!("CARGO_BIN_EXE_probe"));
    run_all(lab, program, &chosen(&[]), &StopSignal::default(), &listener).expect("experiments").0
}

fn text(document: &Experiment) -> String {
    let mut text = Vec::new();
    report::write(&mut text, document, Format::Text, &Style::plain()).expect("memory");
    String::from_utf8(text).expect("UTF-8")
}

/// What a packet socket counted where probe says that it counted; none where XDP keeps packets from packet sockets, which is
/// where the two hosts take them in.
fn tapped(taps: &mut [Tap; 4], family: Family, counted: &Counted) -> Option<u64> {
    let way = if counted.hop == "tc_out" { Direction::Out } else { Direction::In };
    let nic = Nic::ALL.into_iter().find(|nic| {
        (nic.host().name(), Some(nic.interface())) == (counted.host.as_str(), counted.interface.as_deref())
    });
    let nic = nic.expect("a NIC of the lab");
    let echo = if counted.kind == Echo::Request { Echo::Request } else { Echo::Reply };
    let shown = way == Direction::Out || nic.host() == LabHost::Fw;
    shown.then(|| taps[nic as usize].count(way, Kind { family, echo }, counted.id))
}

#[test]
fn the_four_experiments_come_out_as_designed() {
    if !common::is_root("the_four_experiments_come_out_as_designed") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    let mut taps = Nic::ALL.map(|nic| Tap::new(&lab, nic));
    let document = play(&lab);
    assert!(document.as_expected, "{}", text(&document));
    let runs = document.experiments.as_deref().expect("those of the lab");
    assert_eq!(runs.len(), 4 * lab.families().len());
    for run in runs {
        assert_eq!(Some(run.finding.as_str()), lessons::of(&run.name));
        let family = if run.between.as_ref().expect("two ends").family == 4 { Family::V4 } else { Family::V6 };
        for counted in &run.checkpoints {
            let packets = counted.packets.expect("no NIC of the lab is blind") as u64;
            if let Some(tapped) = tapped(&mut taps, family, counted) {
                assert_eq!(packets, tapped, "{}: {counted:?}", run.name);
            }
        }
    }
}

#[test]
fn an_experiment_is_not_as_designed_where_the_firewall_is_open() {
    if !common::is_root("an_experiment_is_not_as_designed_where_the_firewall_is_open") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    let opened = lab.netns(LabHost::Fw).command("nft").args(["flush", "ruleset"]).status().expect("nft");
    assert!(opened.success());
    let document = play(&lab);
    assert!(!document.as_expected);
    for run in document.experiments.as_deref().expect("those of the lab") {
        // Each has an unsolicited reply as its control, so none is taken in.
        assert!(!run.as_expected, "{}: {}", run.name, run.finding);
        for step in &run.steps {
            assert_eq!(step.as_expected, step.expect == Expect::Arrives, "{}: {step:?}", run.name);
        }
        let asked_for = run.steps.iter().filter(|step| step.role == StepRole::Case).all(|step| step.as_expected);
        assert_eq!(asked_for, matches!(run.name.as_str(), "normal" | "many-replies"), "{}", run.name);
    }
}

#[test]
fn a_may_ping_b_and_b_may_not_ping_a() {
    if !common::is_root("a_may_ping_b_and_b_may_not_ping_a") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    let mut taps = Nic::ALL.map(|nic| Tap::new(&lab, nic));
    for family in [Family::V4, Family::V6] {
        let (request, reply) = (Kind { family, echo: Echo::Request }, Kind { family, echo: Echo::Reply });
        send(&lab, LabHost::A, LabHost::B.address(family), Echo::Request, 500, 1).expect("sent");
        let [a, ..] = &mut taps;
        assert!(eventually(PATIENCE, || a.count(Direction::In, reply, 500) == 1), "{family:?}: no reply at A");

        send(&lab, LabHost::B, LabHost::A.address(family), Echo::Request, 501, 1).expect("sent");
        let [.., fw, _] = &mut taps;
        assert!(eventually(PATIENCE, || fw.count(Direction::In, request, 501) == 1), "{family:?}: nothing at FW");
        thread::sleep(Duration::from_millis(100));
        let [a, fw, ..] = &mut taps;
        assert_eq!(
            (fw.count(Direction::Out, request, 501), a.count(Direction::In, request, 501)),
            (0, 0),
            "{family:?}"
        );
    }
}

#[test]
fn every_host_reaches_the_firewall_at_once() {
    if !common::is_root("every_host_reaches_the_firewall_at_once") {
        return;
    }
    for _ in 0..5 {
        let lab = Topology::build().expect("a lab");
        let mut tap = Tap::new(&lab, Nic::A);
        for family in [Family::V4, Family::V6] {
            // The very first packet after build() must not be lost to a link or an address that is not ready.
            let gateway: IpAddr = Nic::FwA.address(family);
            send(&lab, LabHost::A, gateway, Echo::Request, 9, 1).expect("sent");
            let reply = Kind { family, echo: Echo::Reply };
            assert!(eventually(PATIENCE, || tap.count(Direction::In, reply, 9) == 1), "{family:?}");
        }
    }
}

#[test]
fn work_inside_a_namespace_leaves_this_thread_where_it_is() {
    if !common::is_root("work_inside_a_namespace_leaves_this_thread_where_it_is") {
        return;
    }
    let here = || fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
    let before = here();
    let netns = Netns::new().expect("a namespace");
    let inside = netns.run(here).expect("inside");
    assert_eq!(inside.to_string_lossy(), format!("net:[{}]", netns.inode()));
    let panicked = panic::catch_unwind(panic::AssertUnwindSafe(|| netns.run(|| panic!("inside"))));
    assert_eq!(
        panicked.err().and_then(|what| what.downcast_ref::<&str>().map(|text| (*text).to_owned())).as_deref(),
        Some("inside")
    );
    let child = netns.command("readlink").arg("/proc/self/ns/net").output().expect("readlink");
    assert_eq!(String::from_utf8_lossy(&child.stdout).trim(), inside.to_string_lossy());
    assert_eq!(here(), before);
    assert_eq!(netns.cookie().expect("a cookie"), netns.cookie().expect("a cookie"));
    assert_ne!(netns.cookie().expect("a cookie"), Netns::new().and_then(|other| other.cookie()).expect("a cookie"));
}

/// Whether a namespace is still there: `lsns` and `/proc` know only those that a process is in, but its cable's other
/// end lives in `witness` until the namespace itself is gone.
struct Witness {
    netns: Netns,
}

impl Witness {
    /// Lays a cable from here into the namespace of the process `pid`.
    fn of(pid: u32, inode: u64) -> Self {
        let netns = Netns::new().expect("a namespace");
        let path = format!("/proc/{pid}/fd");
        let held = fs::read_dir(path).expect("descriptors").flatten().find_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            (target.to_string_lossy() == format!("net:[{inode}]")).then(|| entry.path())
        });
        let other = Netns::open(&held.expect("the process holds the namespace")).expect("opened").expect("a namespace");
        // Moved by hand: one end here, the other there.
        let made = netns.command("ip").args(["link", "add", "w0", "type", "veth", "peer", "name", "w1"]).status();
        assert!(made.expect("ip").success());
        let target = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&other))
        );
        let moved = netns.command("ip").args(["link", "set", "w1", "netns", &target]).output().expect("ip");
        assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
        Self { netns }
    }

    fn still_sees_it(&self) -> bool {
        self.netns
            .run(|| fs::read_to_string("/proc/thread-self/net/dev"))
            .expect("inside")
            .expect("devices")
            .contains("w0:")
    }
}

/// A lab whose namespace B is watched through a cable: the end here vanishes when the kernel has removed B.
fn watched(lab: &Topology) -> Witness {
    Witness::of(std::process::id(), lab.netns(LabHost::B).inode())
}

#[test]
fn nothing_is_left_when_the_owner_drops_it() {
    if !common::is_root("nothing_is_left_when_the_owner_drops_it") {
        return;
    }
    let lab = Topology::build().expect("a lab");
    let witness = watched(&lab);
    assert!(witness.still_sees_it());
    drop(lab);
    assert!(eventually(PATIENCE, || !witness.still_sees_it()), "the namespace outlived its owner");
}

#[test]
fn nothing_is_left_when_the_owner_panics() {
    if !common::is_root("nothing_is_left_when_the_owner_panics") {
        return;
    }
    let owner = thread::spawn(|| {
        let lab = Topology::build().expect("a lab");
        let witness = watched(&lab);
        assert!(witness.still_sees_it());
        panic::panic_any(witness);
    });
    let panicked = owner.join().expect_err("it panics");
    let witness = panicked.downcast::<Witness>().expect("what it panicked with");
    assert!(eventually(PATIENCE, || !witness.still_sees_it()), "the namespace outlived the panic");
}

/// What tells this test binary, started again, to hold a lab until it is killed.
const HOLD: &str = "PROBE_TEST_HOLD_A_LAB";

#[test]
fn nothing_is_left_after_kill_9() {
    if std::env::var_os(HOLD).is_some() {
        let lab = Topology::build().expect("a lab");
        println!("holding {}", lab.netns(LabHost::B).inode());
        thread::sleep(Duration::from_secs(60));
        return;
    }
    if !common::is_root("nothing_is_left_after_kill_9") {
        return;
    }
    let mut holder = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "lab::alone::nothing_is_left_after_kill_9", "--nocapture"])
        .env(HOLD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the test starts again");
    let lines = BufReader::new(holder.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let inode = lines.filter_map(|line| line.split_once("holding ")?.1.trim().parse().ok()).next();
    let witness = Witness::of(holder.id(), inode.expect("it says what it holds"));
    assert!(witness.still_sees_it());
    holder.kill().expect("SIGKILL");
    holder.wait().expect("it is gone");
    assert!(eventually(PATIENCE, || !witness.still_sees_it()), "the namespace outlived kill -9");
}
