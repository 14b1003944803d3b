//! `cargo xtask bench`: what a packet costs in the kernel programs, on this machine.

mod others;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{
    compile::compile,
    setup,
    shell::{Root, repo, run as run_command, say},
    toolchain::TOOLS,
};

/// Set up what is missing, build as this user, and measure the kernel programs as root (with sudo where needed).
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What is measured
    #[arg(value_enum, default_value_t)]
    what: What,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// What a packet costs in every kind of program
    #[default]
    Packets,
    /// What the filter costs, beside xdp-filter, nftables and TCX, by test run and in a flood
    Filter,
}

/// Sets up, builds and measures; prints a table of nanoseconds, and of ratios to an empty program.
///
/// # Errors
/// Something can't be had, does not build, or this user can't become root.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    setup::ensure_toolchain()?;
    say(&format!("kernel half: {}", setup::toolchain_in_words()?));
    // What is measured runs in the kernel and is always optimised; the dev profile shares what the tests have built.
    let made = compile(&["bench", "--no-run", "--profile", "dev", "--package", "probe-user", "--bench", "packets"])?;
    let bench = made.executables.into_iter().find(|(name, _)| name == "packets");
    let (_, bench) = bench.context("cargo built no program called packets")?;
    let root = Root::obtain("the programs are loaded into the kernel, which only root may do");
    let Some(mut command) = root.command(&bench) else {
        bail!("only root can run it, and sudo doesn't let this user — run as root: {}", bench.display());
    };
    if options.what == What::Filter {
        command.arg("filter");
        if let Some(object) = others::xdp_filter(&repo().join(TOOLS)) {
            command.arg(format!("xdp-filter={}", object.display()));
        }
    }
    say("each case takes turns with the empty program: this takes a minute");
    run_command(&mut command)?;
    Ok(ExitCode::SUCCESS)
}
