//! How long `probe diagnose` takes with its defaults, from its start to its verdict, in the lab's network namespaces.
//!
//! The cases take turns, each in a lab of its own, and medians are shown. Both ends run on this one machine, which is the
//! worst case: they share its processors. Nothing is asserted: the numbers are for people.

use std::{
    error::Error,
    io::Read,
    os::fd::{AsFd, AsRawFd},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use nix::unistd::geteuid;
use probe_ebpf::Family;
use probe_user::{
    ebpf::object,
    lab::{
        LabHost, Topology,
        fault::{self, break_lab},
    },
};
use serde_json::Value;

/// The program that is measured.
const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// How often each case is measured; the median counts.
const ROUNDS: usize = 9;

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Only the sending host.
    One,
    /// The far host too, by `--peer`.
    Two,
}

/// One row.
struct Row {
    /// Its name.
    title: &'static str,
    /// The case of the fault catalogue.
    case: &'static str,
    ends: Ends,
    /// The verdict that it must reach, so that no other is timed.
    outcome: &'static str,
    /// Its goal in seconds.
    goal: f64,
}

const ROWS: [Row; 5] = [
    Row { title: "healthy, one end", case: "healthy", ends: Ends::One, outcome: "delivered", goal: 0.5 },
    Row { title: "healthy, both ends", case: "healthy", ends: Ends::Two, outcome: "delivered", goal: 0.5 },
    Row { title: "dropped here", case: "local-nft-output", ends: Ends::One, outcome: "stopped", goal: 0.5 },
    Row { title: "dropped at the far end", case: "peer-nft-input", ends: Ends::Two, outcome: "stopped", goal: 1.0 },
    Row { title: "lost between them", case: "network-drops-requests", ends: Ends::Two, outcome: "stopped", goal: 2.0 },
];

/// The times of one run.
#[derive(Clone, Copy)]
struct Run {
    /// Until the verdict was printed.
    verdict: Duration,
    /// Until everything was detached and the program had ended.
    end: Duration,
    /// What the slower end says that attaching took, in milliseconds.
    attach_ms: u64,
}

fn main() -> ExitCode {
    if let Err(missing) = object::bytes() {
        eprintln!("{missing}: nothing to measure");
        return ExitCode::FAILURE;
    }
    if !geteuid().is_root() {
        eprintln!(
            "only root can make network namespaces and load kernel programs: sudo, or cargo xtask bench diagnose"
        );
        return ExitCode::FAILURE;
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Box<dyn Error>> {
    let mut runs: [Vec<Run>; ROWS.len()] = Default::default();
    // The first turn of each warms up.
    for round in 0..=ROUNDS {
        for (row, runs) in ROWS.iter().zip(&mut runs) {
            let run = run(row)?;
            if round > 0 {
                runs.push(run);
            }
        }
    }
    println!("{:<24} {:>7} {:>7} {:>7} {:>9}", "case", "goal", "verdict", "end", "attach ms");
    for (row, runs) in ROWS.iter().zip(&mut runs) {
        let verdict = median(runs, |run| run.verdict).as_secs_f64();
        let end = median(runs, |run| run.end).as_secs_f64();
        let attach = median(runs, |run| run.attach_ms);
        println!("{:<24} {:>5.1} s {verdict:>5.2} s {end:>5.2} s {attach:>9}", row.title, row.goal);
    }
    Ok(())
}

fn median<T: Ord + Copy>(runs: &[Run], of: impl Fn(&Run) -> T) -> T {
    let mut values: Vec<T> = runs.iter().map(of).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// Diagnoses one case in a lab of its own.
fn run(row: &Row) -> Result<Run, Box<dyn Error>> {
    let case = fault::all().into_iter().find(|case| case.name == row.case && case.family == Family::V4);
    let case = case.ok_or_else(|| format!("the catalogue has no {}", row.case))?;
    let lab = Topology::build()?;
    let _broken = break_lab(&lab, &case)?;
    let mut command = diagnose(&lab, row.ends);
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut document = vec![0];
    let mut stdout = child.stdout.take().ok_or("stdout is no pipe")?;
    // The document is written in one piece, at once with its verdict.
    stdout.read_exact(&mut document)?;
    let verdict = start.elapsed();
    stdout.read_to_end(&mut document)?;
    child.wait()?;
    let end = start.elapsed();
    let document: Value = serde_json::from_slice(&document)?;
    let outcome = &document["verdict"]["outcome"];
    if outcome != row.outcome {
        return Err(format!("{}: the verdict is {outcome}, not {}", row.title, row.outcome).into());
    }
    let attach_ms = document["accounting"]["attach_ms"].as_u64().ok_or("no time of attaching")?;
    Ok(Run { verdict, end, attach_ms })
}

fn diagnose(lab: &Topology, ends: Ends) -> Command {
    let mut command = lab.netns(LabHost::A).command(PROBE);
    command.args(["diagnose", "-q", "--format", "json"]).arg(LabHost::B.address(Family::V4).to_string());
    if ends == Ends::Two {
        // By the handle of this process, since the lab's namespaces have no names.
        let netns = lab.netns(LabHost::B).as_fd().as_raw_fd();
        command.arg("--peer").arg(format!("nsenter --net=/proc/{}/fd/{netns} '{PROBE}' agent", std::process::id()));
    }
    command
}
