//! `cargo xtask setup`: fetches what the kernel half, the lab and the tests need and this machine lacks.

pub(crate) mod apt;
mod archive;
pub(crate) mod debs;
mod linker;
mod programs;
mod tools;

use std::{fs::File, process::ExitCode, time::SystemTime};

use anyhow::{Context as _, Result, anyhow};
pub(crate) use programs::{NeededBy, install_missing};

use crate::{
    shell::{repo, say},
    toolchain::{self, Source},
};

/// Fetch what building and testing need and this machine lacks.
///
/// The BPF toolchain goes into the folder .tools of the repository, without root; delete the folder to get rid of it.
/// Programs that the lab and the tests call are installed as system packages if they are missing; no package is removed. A
/// suitable toolchain of your own (rustup's nightly with rust-src, and bpf-linker) is used as it is.
#[derive(clap::Args)]
pub(crate) struct SetupOptions {}

/// Sets up what is missing and says so, or says that nothing is.
///
/// # Errors
/// If something can't be fetched; the error names what to install by hand.
pub(crate) fn run(_: &SetupOptions) -> Result<ExitCode> {
    ensure(NeededBy::Tests)?;
    say(&format!("set up; kernel half: {}", toolchain_in_words()?));
    Ok(ExitCode::SUCCESS)
}

/// Sets up what is missing for a purpose; prints nothing if nothing is.
///
/// # Errors
/// As [`run`].
pub(crate) fn ensure(purpose: NeededBy) -> Result<()> {
    ensure_toolchain()?;
    install_missing(purpose)
}

/// Sets up what compiling needs; prints nothing if nothing is missing.
///
/// # Errors
/// As [`run`].
pub(crate) fn ensure_toolchain() -> Result<()> {
    if matches!(source()?, Source::Nothing(_)) {
        tools::fill()?;
        look_again()?;
        if let Source::Nothing(tried) = source()? {
            return Err(nothing(&tried));
        }
    }
    Ok(())
}

/// Returns where the kernel half would come from now.
///
/// # Errors
/// If a variable names something that doesn't fit.
pub(crate) fn source() -> Result<Source> {
    toolchain::find(repo()).map_err(|why| anyhow!(why))
}

/// Describes the toolchain for the kernel half.
///
/// # Errors
/// If there is none, with everything that was tried, or a variable names something that doesn't fit.
pub(crate) fn toolchain_in_words() -> Result<String> {
    match source()? {
        Source::Object(object) => Ok(format!("prebuilt object {}", object.display())),
        Source::Toolchain(toolchain) => Ok(toolchain.to_string()),
        Source::Nothing(tried) => Err(nothing(&tried)),
    }
}

/// Makes the build script look for a toolchain again: cargo cannot watch for a file that doesn't exist yet.
///
/// # Errors
/// If the build script's time can't be set.
pub(crate) fn look_again() -> Result<()> {
    let script = repo().join("probe-user/build.rs");
    let touch = File::open(&script).and_then(|file| file.set_modified(SystemTime::now()));
    touch.with_context(|| format!("cannot touch {}", script.display()))
}

fn nothing(tried: &[String]) -> anyhow::Error {
    anyhow!("no BPF toolchain fits — run: cargo xtask setup\n  tried {}", tried.join("\n  tried "))
}
