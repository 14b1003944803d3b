//! `cargo xtask check`: everything that is asked of the sources, short of running the tests.

mod circles;
mod contents;
mod files;
mod graph;
mod imports;
mod licences;
mod names;
mod sources;

use std::process::{Command, ExitCode};

use anyhow::{Result, anyhow, bail};

use crate::shell::{capture, cargo, run as run_command, say};

/// Check format, lints, import rules, documentation, and the licences and advisories of dependencies.
#[derive(clap::Args)]
pub(crate) struct CheckOptions {}

/// A check: what it is about, and how it is done.
type Check = (&'static str, fn() -> Result<()>);

const CHECKS: [Check; 9] = [
    ("files", files::check),
    ("import rules", imports::check),
    ("import circles", circles::check),
    ("names of types", names::check),
    ("format", format),
    ("licences of dependencies", licences::check),
    ("lints", lints),
    ("documentation", documentation),
    ("advisories", advisories),
];

/// Does all checks, and names those that failed.
///
/// # Errors
/// One failed; they are done to the end all the same.
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
        .map_err(|_| anyhow!("there is no cargo {subcommand} — run: rustup component add {component}"))
}

/// The database is fetched first, on its own, so that no network is told from an advisory.
fn advisories() -> Result<()> {
    let quiet = |command: &mut Command| capture(command).is_ok();
    if !quiet(cargo().args(["deny", "--version"])) {
        say("advisories NOT checked: there is no cargo-deny (cargo install cargo-deny)");
        return Ok(());
    }
    if !quiet(cargo().args(["deny", "fetch", "db"])) {
        say("advisories NOT checked: their database is out of reach");
        return Ok(());
    }
    run_command(cargo().args(["deny", "check", "advisories"]))
}
