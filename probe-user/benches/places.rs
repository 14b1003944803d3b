//! What further network namespaces on the way cost: the time to a verdict over four of them beside that over two, and the
//! processor time of packets that cross none of them.
//!
//! The cases take turns (A B A B), and each is compared with the turn of the other before it; medians are shown. The numbers are
//! for people, nothing is asserted but that every place was found.

#[path = "overhead/flood.rs"]
mod flood;
#[path = "../tests/common/net.rs"]
mod net;
#[path = "places/row.rs"]
mod row;

use std::{error::Error, io::Read, process::ExitCode, process::Stdio, time::Instant};

use nix::unistd::geteuid;
use probe_user::{ebpf::object, error::Failure};
use serde_json::Value;

use flood::Flood;
use row::Row;

/// The program that is measured.
const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// How often each case is measured; the median counts.
const ROUNDS: usize = 15;

/// Round trips of one turn.
const ECHOES: u32 = 40_000;

fn main() -> ExitCode {
    if let Err(missing) = object::bytes() {
        eprintln!("{missing}: nothing to measure");
        return ExitCode::FAILURE;
    }
    if !geteuid().is_root() {
        eprintln!("only root can make network namespaces and load kernel programs: sudo, or cargo xtask bench places");
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
    let (two, four) = (Row::of(2), Row::of(4));
    println!("{:<34} {:>10} {:>10} {:>8}", "time to the verdict", "2 places", "4 places", "ratio");
    verdicts("healthy", "delivered", &two, &four)?;
    for row in [&two, &four] {
        row.drop_at_the_target();
    }
    verdicts("dropped at the target", "stopped", &two, &four)?;
    for row in [&two, &four] {
        row.drop_nothing();
    }
    let bystanders = net::Pair::new();
    println!("\n{:<34} {:>10} {:>10} {:>8}", "a packet of others, ns an echo", "nobody", "", "");
    let measured = bystanders.a.run(|| packets(&two, &four)).map_err(Failure::from).and_then(|measured| measured);
    measured.map_err(|failure| failure.to_string().into())
}

/// Times both rows in turns.
fn verdicts(title: &str, outcome: &str, two: &Row, four: &Row) -> Result<(), Box<dyn Error>> {
    let (mut of_two, mut of_four, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first turn of each warms up.
    for round in 0..=ROUNDS {
        let [short, long] = [verdict(two, outcome)?, verdict(four, outcome)?];
        if round > 0 {
            of_two.push(short);
            of_four.push(long);
            ratios.push(long / short);
        }
    }
    let (two, four, ratio) = (median(&mut of_two), median(&mut of_four), median(&mut ratios));
    println!("{title:<34} {two:>8.3} s {four:>8.3} s {ratio:>8.2}");
    Ok(())
}

/// Returns the seconds from the start of a diagnosis to its verdict.
fn verdict(row: &Row, outcome: &str) -> Result<f64, Box<dyn Error>> {
    let mut command = row.sender().command(PROBE);
    command.args(["diagnose", "-q", "--format", "json"]).arg(row.target());
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut document = vec![0];
    let mut stdout = child.stdout.take().ok_or("stdout is no pipe")?;
    // The document is written in one piece, at once with its verdict.
    stdout.read_exact(&mut document)?;
    let verdict = start.elapsed();
    stdout.read_to_end(&mut document)?;
    child.wait()?;
    let document: Value = serde_json::from_slice(&document)?;
    let (told, places) = (&document["verdict"]["outcome"], document["places"].as_array().map_or(0, Vec::len));
    if told != outcome || places != row.places() {
        return Err(format!("the verdict is {told} over {places} places, not {outcome} over {}", row.places()).into());
    }
    Ok(verdict.as_secs_f64())
}

/// Measures a flood that crosses no place of a run: with nobody looking, and while a run over each row is watched.
fn packets(two: &Row, four: &Row) -> Result<(), Failure> {
    let mut flood = Flood::open(net::A4, net::B4)?;
    flood.warm_up(ECHOES)?;
    let (mut nobody, mut of_two, mut of_four) = (Vec::new(), Vec::new(), Vec::new());
    let (mut to_nobody, mut to_two) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let alone = flood.nanoseconds(ECHOES)?;
        let mut during = |row: &Row| {
            row.while_watched(|| {
                // What attaching left in the caches is nobody's cost.
                flood.warm_up(ECHOES / 8)?;
                flood.nanoseconds(ECHOES)
            })
        };
        let (short, long) = (during(two)?, during(four)?);
        flood.warm_up(ECHOES / 8)?;
        nobody.push(alone);
        of_two.push(short);
        of_four.push(long);
        to_nobody.push(short / alone);
        to_two.push(long / short);
    }
    let row = |title: &str, mut own: Vec<f64>, ratio: &str| {
        println!("{title:<34} {:>10.0} {ratio}", median(&mut own));
    };
    row("nobody looks", nobody, "");
    row("a run over 2 places is watched", of_two, &format!("{:.3} × nobody", median(&mut to_nobody)));
    row("a run over 4 places is watched", of_four, &format!("{:.3} × 2 places", median(&mut to_two)));
    Ok(())
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
