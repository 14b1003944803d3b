//! `cargo xtask dist`: the static program of a processor architecture, and every form in which it is installed.

mod components;
mod contents;
mod deb;
mod elf;
mod image;
mod metadata;
mod notices;
mod program;
mod revision;
mod rpm;
mod sums;
mod tarball;
mod target;
mod verify;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

use self::{contents::ReleaseContents, metadata::Metadata, revision::Revision, target::ReleaseTarget};
use crate::shell::{repo, say};

/// Make what is installed: a static program, .tar.gz, .deb, .rpm, a container image, a list of components, sums.
///
/// All times are the commit's and no path of this machine is in it, so that the same commit and compiler can make the same
/// bytes. Everything lands in target/dist.
#[derive(clap::Args)]
pub(crate) struct DistOptions {
    /// What it is for, as the compiler calls it, such as aarch64-unknown-linux-gnu; this machine if it is left out
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Try what was made: install, upgrade and remove the packages in folders, run the program on a bare root
    #[arg(long)]
    verify: bool,
    /// The folder to write to
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// A release: what is shipped, for whom, and from which state of the sources.
struct Release {
    target: ReleaseTarget,
    revision: Revision,
    contents: ReleaseContents,
}

/// Builds, packs, and prints what was made.
///
/// # Errors
/// The target is unknown or cannot be built for here, something does not compile, a file cannot be written, or what was made does
/// not hold what it must.
pub(crate) fn run(options: &DistOptions) -> Result<ExitCode> {
    let target = ReleaseTarget::named(options.target.as_deref())?;
    let out = options.out.clone().unwrap_or_else(|| repo().join("target/dist"));
    writable(&out)?;
    let revision = Revision::of_the_sources()?;
    if revision.is_changed {
        say(&format!("there are changes that are not committed: the version is {}", revision.version()));
    }
    let linker = target.linker()?;
    let metadata = Metadata::read(&target)?;
    let program = program::build(&target, &linker, &revision)?;
    let contents = ReleaseContents::gather(&target, &program, &metadata)?;
    let release = Release { target, revision, contents };
    let made = write(&release, &program, &metadata, &out)?;
    for file in &made {
        let bytes = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
        say(&format!("{:>9} bytes  {}", bytes, file.display()));
    }
    if options.verify {
        verify::all(&release, &program, &out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks before the long build that its result can be written.
fn writable(out: &Path) -> Result<()> {
    let wrong = || format!("cannot write to {} — name another folder with --out", out.display());
    fs::create_dir_all(out).with_context(wrong)?;
    let trial = out.join(".trial");
    fs::write(&trial, []).and_then(|()| fs::remove_file(&trial)).with_context(wrong)
}

fn write(release: &Release, program: &[u8], metadata: &Metadata, out: &Path) -> Result<Vec<PathBuf>> {
    let Release { target, revision, contents } = release;
    let version = revision.version();
    let whole = format!("probe-{version}-{}-linux", target.arch);
    let files = [
        (target.program_name(), program.to_vec()),
        (format!("{whole}.tar.gz"), tarball::of_release(contents, &whole, revision.epoch)?),
        (format!("probe_{version}_{}.deb", target.deb), deb::package(release)?),
        (format!("probe-{version}-1.{}.rpm", target.arch), rpm::package(release)?),
        (format!("{whole}.oci.tar"), image::archive(release, program)?),
        (format!("{whole}.cdx.json"), components::list(release, metadata)?),
    ];
    let mut made = Vec::new();
    for (name, bytes) in files {
        let file = out.join(name);
        // A program that runs from this file keeps the old one.
        let _ = fs::remove_file(&file);
        fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        made.push(file);
    }
    program::executable(&made[0])?;
    made.push(sums::write(out)?);
    Ok(made)
}

#[cfg(test)]
mod tests;
