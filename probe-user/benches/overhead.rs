//! What watching costs an echo flood: processor time of a round trip over a veth pair, with and without an observer.
//!
//! One thread on one processor sends, and the whole round trip is its own time: a veth hands packets over in soft
//! interrupts of the sender. Each observer takes turns with nobody, and is compared with the turns before and after its
//! own; medians are shown. The numbers are for people, nothing is asserted.

#[path = "overhead/flood.rs"]
mod flood;
#[path = "../tests/common/net.rs"]
mod net;
#[path = "overhead/observer.rs"]
mod observer;

use std::process::ExitCode;

use nix::unistd::geteuid;
use probe_user::{ebpf::object, error::Failure};

use flood::Flood;
use observer::{Attached, Observer};

/// How often each observer is measured; the median counts.
const ROUNDS: usize = 11;

/// Round trips of one turn.
const ECHOES: u32 = 40_000;

fn main() -> ExitCode {
    if let Err(missing) = object::bytes() {
        eprintln!("{missing}: nothing to measure");
        return ExitCode::FAILURE;
    }
    if !geteuid().is_root() {
        eprintln!("only root can load kernel programs: sudo, or cargo xtask bench overhead");
        return ExitCode::FAILURE;
    }
    let pair = net::Pair::new();
    match pair.a.run(measure).map_err(Failure::from).and_then(|measured| measured) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Failure> {
    let mut flood = Flood::open(net::A4, net::B4)?;
    flood.warm_up(ECHOES)?;
    println!("{:<44} {:>8} {:>8} {:>8}", "who looks at one end", "ns/echo", "+ ns", "ratio");
    let mut nobodys = Vec::new();
    // `cargo bench --bench overhead -- WORD`: only those whose name has that word. cargo itself adds --bench.
    let word = std::env::args().skip(1).find(|word| !word.starts_with("--")).unwrap_or_default();
    for observer in Observer::all().into_iter().filter(|observer| observer.name().contains(&word)) {
        let (mut own, mut ratios) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let before = flood.nanoseconds(ECHOES)?;
            let attached = Attached::new(observer)?;
            // What attaching left in the caches is nobody's cost.
            flood.warm_up(ECHOES / 8)?;
            let with = flood.nanoseconds(ECHOES)?;
            drop(attached);
            flood.warm_up(ECHOES / 8)?;
            let after = flood.nanoseconds(ECHOES)?;
            let without = f64::midpoint(before, after);
            own.push(with);
            ratios.push(with / without);
            nobodys.push(without);
        }
        let (own, ratio) = (median(&mut own), median(&mut ratios));
        println!("{:<44} {own:>8.0} {:>+8.0} {ratio:>8.3}", observer.name(), own - own / ratio);
    }
    println!("{:<44} {:>8.0}", "nobody", median(&mut nobodys));
    Ok(())
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
