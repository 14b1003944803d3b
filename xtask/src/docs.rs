//! `cargo xtask docs`: writes the pages of `docs/` that are made from the code.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    setup,
    shell::{cargo, run as run_command, say},
};

/// Write the pages that are made from the code: hops, causes, JSON documents, commands
#[derive(clap::Args)]
pub(crate) struct DocsOptions {}

/// The test that compares the pages, and writes them where it is asked to.
const TEST: &str = "docs::pages::pages_that_are_made_from_the_code_are_as_it_has_them";

/// Writes them, by the test that holds them.
///
/// # Errors
/// Something does not build, or a page cannot be written.
pub(crate) fn run(_: &DocsOptions) -> Result<ExitCode> {
    setup::ensure_toolchain()?;
    let mut command = cargo();
    command.args(["test", "--package", "probe-user", "--test", "suites", "--", "--exact", TEST]);
    run_command(command.env("PROBE_WRITE_DOCS", "1"))?;
    say("docs/hops, docs/causes, docs/json and docs/commands.md are as the code has them");
    Ok(ExitCode::SUCCESS)
}
