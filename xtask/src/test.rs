//! `cargo xtask test`: from a fresh clone to the result of all tests, in one command.

pub(crate) mod docker;
pub(crate) mod tally;

use std::{
    env,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    compile::{compile, with_kernel_half},
    setup,
    shell::{Root, capture, cargo, say},
};
use tally::TestSum;

/// Set up what is missing, build as this user, run all tests as root (with sudo where needed), and sum them up.
#[derive(clap::Args)]
pub(crate) struct TestOptions {
    /// Let a test that can't run here fail, where it would skip itself; CI=true in the environment implies it.
    #[arg(long)]
    no_skip: bool,
    /// A part of the names of the tests to run, such as peer-nft-input; and what cargo test is given: -p probe-ebpf,
    /// --test cases, -- --test-threads 1.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

const REASON: &str = "some tests load programs into the kernel and make network namespaces";

/// Sets up, builds and tests; the last line is `N passed, N failed, N skipped`.
///
/// # Errors
/// Something cannot be had, or does not build. A test that fails is not an error but a failing exit status.
pub(crate) fn run(options: &TestOptions) -> Result<ExitCode> {
    interruptible()?;
    let no_skip = options.no_skip || env::var_os("CI").is_some_and(|value| value == "true");
    setup::ensure_toolchain()?;
    if let Err(error) = setup::install_missing(setup::NeededBy::Tests) {
        if no_skip || Root::obtain(REASON) != Root::No {
            return Err(error);
        }
        say(&format!("continuing without them: {error:#}"));
    }
    say(&format!("kernel half: {}", setup::toolchain_in_words()?));
    let (to_cargo, to_tests) = split(&options.arguments);
    let mut build = vec!["test", "--no-run"];
    build.extend(&to_cargo);
    compile(&build)?;
    let root = Root::obtain(REASON);
    if root == Root::No {
        say("NOT ROOT and no sudo: every test that needs root skips itself, which leaves most of probe untested");
    }
    let mut command = with_kernel_half();
    command.args(["test", "--no-fail-fast"]).args(&to_cargo);
    command.args(["--", "--show-output"]).args(to_tests);
    if io::stdout().is_terminal() {
        command.args(["--color", "always"]).env("CARGO_TERM_COLOR", "always");
    }
    if root == Root::Sudo {
        command.env(runner_variable()?, "sudo -n -E");
    }
    if no_skip {
        command.env("PROBE_NO_SKIP", "1");
    }
    let mut tally = TestSum::default();
    let mut success = watch(command, &mut tally)?;
    if success && tally.is_empty() && !asks_for_a_list(&options.arguments) {
        bail!("no test has that name — `cargo xtask test -- --list` lists them all");
    }
    if options.arguments.is_empty() && root != Root::No {
        success &= once_more_under_docker(root, no_skip, &mut tally)?;
    }
    Ok(conclude(tally, success))
}

/// Takes SIGINT again where it is ignored, as in what a script starts in the background: tests send it to their programs, which
/// would not get it either.
fn interruptible() -> Result<()> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: no handler is installed, only the default action of the kernel.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.context("cannot take SIGINT")?;
    Ok(())
}

/// Runs the namespace suites again with the settings of a host with Docker.
fn once_more_under_docker(root: Root, no_skip: bool, tally: &mut TestSum) -> Result<bool> {
    if let Some(why) = docker::obstacle() {
        say(&format!("NOT RUN with the settings of Ubuntu with Docker: {why}"));
        return Ok(!no_skip);
    }
    say("once more with the settings of Ubuntu with Docker");
    let mut command = with_kernel_half();
    command.args(["--config", &docker::runner(&host()?, root == Root::Sudo)?, "test", "--no-fail-fast"]);
    // The same packages as before: fewer would have other features, and be built anew.
    command.args(["--workspace", "--test", "suites", "--", "--show-output"]).args(docker::TOPICS);
    if no_skip {
        command.env("PROBE_NO_SKIP", "1");
    }
    watch(command, tally)
}

/// Prints the sum, and returns the exit status for it.
fn conclude(mut tally: TestSum, success: bool) -> ExitCode {
    if !success && tally.failed == 0 {
        // A test program that crashes reports nothing.
        say("cargo test failed, although no test did: see above");
        tally.failed = 1;
    }
    if !tally.reasons().is_empty() {
        say("what failed, once more:");
        tally.reasons().iter().for_each(|line| println!("{line}"));
    }
    println!("{}", tally.line());
    if success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn asks_for_a_list(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "--list")
}

/// Returns the arguments for cargo, and those for the test programs. All packages are tested unless some are chosen.
fn split(arguments: &[String]) -> (Vec<&str>, Vec<&str>) {
    let mut sides = arguments.splitn(2, |argument| argument == "--");
    let mut side = || sides.next().unwrap_or_default().iter().map(String::as_str).collect::<Vec<_>>();
    let (mut to_cargo, to_tests) = (side(), side());
    let chooses = |argument: &&str| {
        ["-p", "--package", "--workspace"].iter().any(|option| argument.split('=').next() == Some(option))
    };
    if !to_cargo.iter().any(chooses) {
        to_cargo.insert(0, "--workspace");
    }
    (to_cargo, to_tests)
}

/// Runs the tests with both their streams on the screen, in order, and counts.
fn watch(mut command: Command, tally: &mut TestSum) -> Result<bool> {
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    command.stdout(writer.try_clone().context("cannot copy a pipe")?).stderr(writer);
    let mut child = command.spawn().context("cannot start cargo test")?;
    // Its copies of the writing end would keep the reader waiting for ever.
    drop(command);
    let mut screen = io::stdout();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("cannot read the output of cargo test")?;
        if tally.take(&String::from_utf8_lossy(&line)) {
            // A closed screen must not stop the tests.
            let _ = screen.write_all(&line).and_then(|()| screen.write_all(b"\n"));
        }
    }
    Ok(child.wait()?.success())
}

/// Returns the variable that makes cargo run test programs through another program, on this machine's target.
fn runner_variable() -> Result<String> {
    Ok(format!("CARGO_TARGET_{}_RUNNER", host()?.to_uppercase().replace('-', "_")))
}

/// Returns this machine's target.
fn host() -> Result<String> {
    let about = capture(cargo().arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).context("cargo -vV names no host")?;
    Ok(host.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_packages_are_tested_unless_some_are_chosen() {
        assert_eq!(split(&[]), (vec!["--workspace"], vec![]));
        assert_eq!(split(&strings(&["--", "name"])), (vec!["--workspace"], vec!["name"]));
        assert_eq!(
            split(&strings(&["-p", "xtask", "--", "a", "--", "b"])),
            (vec!["-p", "xtask"], vec!["a", "--", "b"])
        );
        assert_eq!(split(&strings(&["--package=xtask"])), (vec!["--package=xtask"], vec![]));
        assert_eq!(split(&strings(&["--test", "cases"])), (vec!["--workspace", "--test", "cases"], vec![]));
        assert_eq!(split(&strings(&["peer-nft-input"])), (vec!["--workspace", "peer-nft-input"], vec![]));
    }
}
