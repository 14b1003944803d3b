//! `cargo xtask build`: the release build, with its kernel half.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{compile::compile, setup, shell::say};

/// Build the probe program with its kernel half, optimised.
#[derive(clap::Args)]
pub(crate) struct BuildOptions {}

/// Builds, and prints what compiled the kernel half and where the program is.
///
/// # Errors
/// There is no BPF toolchain, or something does not compile.
pub(crate) fn run(_: &BuildOptions) -> Result<ExitCode> {
    let program = probe()?;
    say(&format!("built {}", program.display()));
    Ok(ExitCode::SUCCESS)
}

/// Builds, and returns the path of the program.
///
/// # Errors
/// As [`run`].
pub(crate) fn probe() -> Result<PathBuf> {
    say(&format!("kernel half: {}", setup::toolchain_in_words()?));
    let made = compile(&["build", "--release", "--package", "probe-user", "--bin", "probe"])?;
    let probe = made.executables.into_iter().find(|(name, _)| name == "probe");
    probe.map(|(_, file)| file).context("cargo built no program called probe")
}
