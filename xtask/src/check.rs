//! `cargo xtask check`: every check of the sources, except running the tests.

mod circles;
mod contents;
mod files;
mod graph;
mod imports;
mod licences;
mod names;
mod sources;
mod summaries;

use std::process::{Command, ExitCode};

use anyhow::{Result, anyhow, bail};

use crate::shell::{capture, cargo, run as run_command, say};

/// Check format, lints, import rules, documentation, and the licences and advisories of dependencies.
#[derive(clap::Args)]
pub(crate) struct CheckOptions {}

/// A check: its subject and its function.
type Check = (&'static str, fn() -> Result<()>);

const CHECKS: [Check; 10] = [
    ("files", files::check),
    ("import rules", imports::check),
    ("import circles", circles::check),
    ("names of types", names::check),
    ("first words of doc comments", summaries::check),
    ("format", format),
    ("licences of dependencies", licences::check),
    ("lints", lints),
    ("documentation", documentation),
    ("advisories", advisories),
];

/// Runs all checks, and names those that failed.
///
/// # Errors
/// If one failed; all are run anyway.
pub(crate) fn run(_: &CheckOptions) -> Result<ExitCode> {
    let mut failed = Vec::new();
    for (about, check) in CHECKS {
        say(&format!("checking {about}"));
        if let Err(error) = check() {
            eprintln!("error: {about}: {error:#}");
            failed.push(about);
        }
    }
    if !failed.is_empty() {
        bail!("{} of {} checks failed: {}", failed.len(), CHECKS.len(), failed.join(", "));
    }
    say(&format!("all {} checks passed", CHECKS.len()));
    Ok(ExitCode::SUCCESS)
}

fn format() -> Result<()> {
    part_of_rust("fmt", "rustfmt")?;
    run_command(cargo().args(["fmt", "--all", "--check"]))
        .map_err(|_| anyhow!("see the differences above — run: cargo fmt --all"))
}

fn lints() -> Result<()> {
    part_of_rust("clippy", "clippy")?;
    run_command(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]))
}

fn documentation() -> Result<()> {
    let mut command = cargo();
    command.env("RUSTDOCFLAGS", "--deny warnings").args(["doc", "--workspace", "--no-deps", "--locked"]);
    run_command(&mut command)
}

fn part_of_rust(subcommand: &str, component: &str) -> Result<()> {
    capture(cargo().args([subcommand, "--version"]))
        .map(drop)
        .map_err(|_| anyhow!("cargo {subcommand} is not installed — run: rustup component add {component}"))
}

/// Checks advisories. Fetches the database first, separately, to distinguish a missing network from an advisory.
fn advisories() -> Result<()> {
    let quiet = |command: &mut Command| capture(command).is_ok();
    if !quiet(cargo().args(["deny", "--version"])) {
        say("advisories NOT checked: cargo-deny is not installed (cargo install cargo-deny)");
        return Ok(());
    }
    if !quiet(cargo().args(["deny", "fetch", "db"])) {
        say("advisories NOT checked: cannot reach their database");
        return Ok(());
    }
    run_command(cargo().args(["deny", "check", "advisories"]))
}
