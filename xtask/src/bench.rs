//! `cargo xtask bench`: measures what a packet costs in the kernel programs, or how long a diagnosis takes, on this machine.

mod others;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{
    compile::compile,
    setup,
    shell::{Root, repo, run as run_command, say},
    toolchain::TOOLS,
};

/// Set up what is missing, build as this user, and measure as root (with sudo where needed).
#[derive(clap::Args)]
pub(crate) struct BenchOptions {
    /// What is measured
    #[arg(value_enum, default_value_t = Subject::Packets)]
    what: Subject,
}

/// What is measured; each is a bench of probe-user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    /// Nanoseconds per packet of the kernel programs, as ratios to an empty program
    Packets,
    /// What the filter costs, beside xdp-filter, nftables and TCX, by test run and in a flood
    Filter,
    /// Seconds from the start of `probe diagnose` to its verdict, for a healthy path and for three that are not
    Diagnose,
    /// What observe, diagnose and tcpdump cost an echo flood, as ratios to nobody looking
    Overhead,
    /// What further network namespaces on the way cost: the time to a verdict, and packets that cross none of them
    Places,
}

impl Subject {
    /// Returns the bench that measures it.
    const fn program(self) -> &'static str {
        match self {
            Self::Packets | Self::Filter => "packets",
            Self::Diagnose => "diagnose",
            Self::Overhead => "overhead",
            Self::Places => "places",
        }
    }

    /// Returns the profile to build it with. What runs in the kernel is always optimised, and the dev profile reuses what
    /// the tests have built; a diagnosis is measured as it is used.
    const fn profile(self) -> &'static str {
        match self {
            Self::Packets | Self::Overhead | Self::Filter => "dev",
            Self::Diagnose | Self::Places => "release",
        }
    }

    const fn announcement(self) -> &'static str {
        match self {
            Self::Packets => "each case takes turns with the empty program: this takes half a minute",
            Self::Filter => "each case takes turns with the empty program: this takes a minute",
            Self::Diagnose => "the cases take turns, ten times: this takes a minute and a half",
            Self::Overhead => "each case takes turns with nobody looking: this takes half a minute or more",
            Self::Places => "two places and four take turns: this takes two minutes",
        }
    }
}

/// Sets up, builds and measures; prints a table.
///
/// # Errors
/// Something is missing, does not build, or this user can't become root.
pub(crate) fn run(options: &BenchOptions) -> Result<ExitCode> {
    match options.what {
        Subject::Packets | Subject::Overhead | Subject::Filter => setup::ensure_toolchain()?,
        Subject::Diagnose | Subject::Places => setup::ensure(setup::NeededBy::Lab)?,
    }
    say(&format!("kernel half: {}", setup::toolchain_in_words()?));
    let (name, profile) = (options.what.program(), options.what.profile());
    let made = compile(&["bench", "--no-run", "--profile", profile, "--package", "probe-user", "--bench", name])?;
    let bench = made.executables.into_iter().find(|(found, _)| found == name);
    let (_, bench) = bench.with_context(|| format!("cargo built no program called {name}"))?;
    let root = Root::obtain("programs are loaded into the kernel, which only root may do");
    let Some(mut command) = root.command(&bench) else {
        bail!("only root can run it, and sudo doesn't let this user — run as root: {}", bench.display());
    };
    if options.what == Subject::Filter {
        command.arg("filter");
        if let Some(object) = others::xdp_filter(&repo().join(TOOLS)) {
            command.arg(format!("xdp-filter={}", object.display()));
        }
    }
    say(options.what.announcement());
    run_command(&mut command)?;
    Ok(ExitCode::SUCCESS)
}
