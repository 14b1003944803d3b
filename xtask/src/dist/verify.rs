//! Tries what was made on this machine: unpacked, installed, upgraded and removed in folders, and run on a bare root.

mod bare;
pub(super) mod image;
mod names;
pub(super) mod packages;

use std::path::Path;

use anyhow::Result;

use super::{Release, contents::Scratch};
use crate::shell::say;

/// Tries everything that this machine can, and says what it cannot.
///
/// # Errors
/// The first thing that is not as it must be.
pub(super) fn all(release: &Release, program: &[u8], out: &Path) -> Result<()> {
    let version = release.revision.version();
    let whole = format!("probe-{version}-{}-linux", release.target.arch);
    image::check(&out.join(format!("{whole}.oci.tar")), program)?;
    say("the image's digests, sizes and configuration fit each other");
    let scratch = Scratch::new()?;
    packages::deb(&out.join(format!("probe_{version}_{}.deb", release.target.deb)), &scratch.0)?;
    packages::rpm(&out.join(format!("probe-{version}-1.{}.rpm", release.target.arch)), &scratch.0)?;
    if release.target.runs_here() {
        bare::run(&out.join(format!("{whole}.tar.gz")), &whole, &scratch.0)?;
    } else {
        say(&format!("NOT RUN on a bare root: this machine is no {}", release.target.arch));
    }
    Ok(())
}
