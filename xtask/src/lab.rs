//! `cargo xtask lab`: from a fresh clone to the experiments of `probe lab`, in one command.

use std::{ffi::OsString, iter, process::ExitCode};

use anyhow::Result;

use crate::{run, setup};

/// Set up what is missing, build, and run probe lab as root (with sudo where needed).
#[derive(clap::Args)]
pub(crate) struct LabOptions {
    /// The arguments for probe lab.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// Sets up, builds, and becomes `probe lab`, whose exit status is that of this command.
///
/// # Errors
/// If something is missing, does not build, or this user can't become root.
pub(crate) fn run(options: LabOptions) -> Result<ExitCode> {
    setup::ensure(setup::NeededBy::Lab)?;
    let arguments: Vec<OsString> = iter::once("lab".into()).chain(options.arguments).collect();
    run::become_probe(&arguments)
}
