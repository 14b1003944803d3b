//! `cargo xtask docs`: writes the pages of `docs/` that are made from the code.

use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

use crate::{
    setup,
    shell::{cargo, is_root, run as run_command, say},
};

/// Write the pages that are made from the code: hops, causes, JSON documents, commands
#[derive(clap::Args)]
pub(crate) struct DocsOptions {
    /// First diagnose a fault of each cause again, as root in the lab, and keep what is printed for its page.
    #[arg(long)]
    transcripts: bool,
    /// Only of these causes, by the names of their pages.
    #[arg(requires = "transcripts", value_name = "CAUSE")]
    causes: Vec<String>,
}

/// The test that compares the pages, and writes them where it is asked to.
const TEST: &str = "docs::pages::pages_that_are_made_from_the_code_are_as_it_has_them";

/// The test that makes transcripts where it is asked to.
const TRANSCRIPTS: &str = "docs::transcripts::transcripts_are_made_on_demand";

/// Writes them, by the tests that hold them.
///
/// # Errors
/// Something does not build, or a page cannot be written.
pub(crate) fn run(options: &DocsOptions) -> Result<ExitCode> {
    setup::ensure_toolchain()?;
    if options.transcripts {
        if !is_root() {
            bail!("transcripts are made in the lab: run it as root");
        }
        let asked = if options.causes.is_empty() { "1".to_owned() } else { options.causes.join(",") };
        run_command(by_test(TRANSCRIPTS).env("PROBE_WRITE_TRANSCRIPTS", asked))?;
    }
    run_command(by_test(TEST).env("PROBE_WRITE_DOCS", "1"))?;
    say("docs/hops, docs/causes, docs/json and docs/commands.md are as the code has them");
    Ok(ExitCode::SUCCESS)
}

/// Returns the command that runs one test of the documents.
fn by_test(name: &str) -> Command {
    let mut command = cargo();
    command.args(["test", "--package", "probe-user", "--test", "suites", "--", "--exact", name]);
    command
}
