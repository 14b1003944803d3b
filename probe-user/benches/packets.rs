//! What a packet costs in the kernel programs, in nanoseconds and as a ratio to a program that does nothing.
//!
//! Every case takes turns with the empty program of its hook, on one processor; medians are shown. Times are of this
//! thread's processor alone, so that other work on the machine counts only where it shares caches. Nothing is asserted:
//! the numbers are for people.

#[path = "packets/bare.rs"]
mod bare;
#[path = "packets/cases.rs"]
mod cases;
#[path = "packets/live.rs"]
mod live;
#[path = "packets/others.rs"]
mod others;

use std::{io, process::ExitCode, time::Duration};

use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    time::{ClockId, clock_gettime},
    unistd::{Pid, geteuid},
};
use probe_user::ebpf::object;

use cases::{Case, REPEAT};

/// How often each case is measured; the median counts.
const ROUNDS: usize = 15;

fn main() -> ExitCode {
    if let Err(missing) = object::bytes() {
        eprintln!("{missing}: nothing to measure");
        return ExitCode::FAILURE;
    }
    if !geteuid().is_root() {
        eprintln!("only root can load kernel programs: sudo, or cargo xtask bench");
        return ExitCode::FAILURE;
    }
    // `cargo xtask bench filter`: the filter alone, and beside others.
    let filter = std::env::args().any(|word| word == "filter");
    let cases = if filter { cases::of_filters } else { cases::all };
    let measured = stay_on_this_processor().and_then(|()| cases()).and_then(|cases| measure(&cases));
    match measured.and_then(|()| if filter { live::run() } else { Ok(()) }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn stay_on_this_processor() -> io::Result<()> {
    let mut only = CpuSet::new();
    only.set(sched_getcpu()?)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &only)?)
}

fn measure(cases: &[Case]) -> io::Result<()> {
    println!("{:<5} {:<44} {:>8} {:>8} {:>8}", "hook", "packet", "ns", "+ ns", "x empty");
    for case in cases {
        let (mut empty, mut more) = (Vec::new(), Vec::new());
        // The first turn of each warms up.
        for round in 0..=ROUNDS {
            let long = nanoseconds(case, Turn::Empty(REPEAT))?;
            // The fixed cost of a short run is the same for both.
            let same = if case.repeat == REPEAT { long } else { nanoseconds(case, Turn::Empty(case.repeat))? };
            let own = nanoseconds(case, Turn::Own)?;
            if round > 0 {
                empty.push(long);
                more.push(own - same);
            }
        }
        let (empty, more) = (median(&mut empty), median(&mut more));
        let (own, ratio) = (empty + more, 1.0 + more / empty);
        println!("{:<5} {:<44} {own:>8.1} {more:>+8.1} {ratio:>8.2}", case.hook.name(), case.name);
    }
    Ok(())
}

/// Whose turn it is.
#[derive(Clone, Copy)]
enum Turn {
    /// The empty program's, for this many runs.
    Empty(u32),
    /// The case's own.
    Own,
}

/// Processor time of one run in nanoseconds.
fn nanoseconds(case: &Case, turn: Turn) -> io::Result<f64> {
    let start = processor_time()?;
    let repeat = match turn {
        Turn::Empty(repeat) => case.run_empty(repeat)?,
        Turn::Own => case.run()?,
    };
    let spent = processor_time()? - start;
    if matches!(turn, Turn::Own) {
        case.rest();
    }
    Ok(spent.as_nanos() as f64 / f64::from(repeat))
}

fn processor_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
