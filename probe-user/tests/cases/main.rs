//! Tests that are made of data, one a case: `cargo xtask test NAME` runs a single fault, verdict, model or experiment.

#[path = "../common/mod.rs"]
mod common;

mod experiments;
mod faults;
mod located;
mod models;
mod trial;
mod verdicts;

use std::{collections::BTreeSet, num::NonZero, process::ExitCode};

use libtest_mimic::{Arguments, run};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They wait for most of their time.
    arguments.test_threads.get_or_insert(2 * std::thread::available_parallelism().map_or(1, NonZero::get));
    let mut trials = models::trials();
    trials.extend(located::trials(arguments.filter.is_some()));
    trials.extend(experiments::trials());
    trials.extend(verdicts::trials());
    // They wait for one another; those that can run in parallel come first.
    trials.extend(faults::trials());
    let mut names = BTreeSet::new();
    for trial in &trials {
        assert!(names.insert(trial.name()), "two cases are called {}", trial.name());
    }
    run(&arguments, trials).exit_code()
}
