//! `cargo xtask run`: builds as this user, runs as root.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Result, anyhow};

use crate::{
    build,
    shell::{Root, words},
};

/// Build probe, and run it as root (with sudo where needed): cargo xtask run -- observe -I eth0
#[derive(clap::Args)]
pub(crate) struct RunOptions {
    /// The arguments for probe.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// Builds, and becomes probe, whose exit status is that of this command.
///
/// # Errors
/// If it does not build, or this user can't become root.
pub(crate) fn run(options: &RunOptions) -> Result<ExitCode> {
    become_probe(&options.arguments)
}

/// Builds and becomes probe, like [`run`], with these arguments.
///
/// # Errors
/// As [`run`]; on success it does not return.
pub(crate) fn become_probe(arguments: &[OsString]) -> Result<ExitCode> {
    let probe = build::probe()?;
    let root = Root::obtain("probe loads programs into the kernel, which only root may do");
    let Some(mut command) = root.command(&probe) else {
        return Err(anyhow!("only root can run it, and sudo doesn't let this user — run as root: {}", probe.display()));
    };
    // Like this the terminal's signals and the exit status are probe's own.
    let error = command.args(arguments).exec();
    Err(anyhow!("cannot start `{}`: {error}", words(&command)))
}
