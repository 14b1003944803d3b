//! `cargo xtask bench`: what probe costs, on this machine.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{
    compile::compile,
    setup,
    shell::{Root, run as run_command, say},
};

/// Set up what is missing, build as this user, and measure as root (with sudo where needed).
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure
    #[arg(value_enum, default_value_t)]
    bench: Bench,
}

/// What can be measured: each is a bench of probe-user.
#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum Bench {
    /// What a packet costs in each kernel program, as a ratio to an empty one
    #[default]
    Packets,
    /// What observe, diagnose and tcpdump cost an echo flood, as a ratio to nobody looking
    Overhead,
}

impl Bench {
    const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Overhead => "overhead",
        }
    }
}

/// Sets up, builds and measures; prints a table.
///
/// # Errors
/// Something can't be had, does not build, or this user can't become root.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    setup::ensure_toolchain()?;
    say(&format!("kernel half: {}", setup::toolchain_in_words()?));
    let name = options.bench.name();
    // What is measured runs in the kernel and is always optimised; the dev profile shares what the tests have built.
    let made = compile(&["bench", "--no-run", "--profile", "dev", "--package", "probe-user", "--bench", name])?;
    let bench = made.executables.into_iter().find(|(made, _)| made == name);
    let (_, bench) = bench.with_context(|| format!("cargo built no program called {name}"))?;
    let root = Root::obtain("the programs are loaded into the kernel, which only root may do");
    let Some(mut command) = root.command(&bench) else {
        bail!("only root can run it, and sudo doesn't let this user — run as root: {}", bench.display());
    };
    say("each case takes turns with none: this takes half a minute or more");
    run_command(&mut command)?;
    Ok(ExitCode::SUCCESS)
}
