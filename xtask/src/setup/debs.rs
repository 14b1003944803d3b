//! Package files of Debian's archive: downloaded once, unpacked without being installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::apt::{Apt, Package};
use crate::shell::{run, say};

/// Downloads those of these packages that `folder` lacks; returns the files of all of them.
///
/// # Errors
/// If the archive does not have one, can't be reached, or a sum is wrong.
pub(crate) fn fetch(apt: &Apt, packages: &[Package], folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let files = apt.files(packages)?;
    let is_whole = |file: &Path, bytes| fs::metadata(file).is_ok_and(|data| data.len() == bytes);
    let missing: u64 =
        files.iter().filter(|deb| !is_whole(&folder.join(&deb.file), deb.bytes)).map(|deb| deb.bytes).sum();
    if missing > 0 {
        let names = packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>().join(", ");
        say(&format!("downloading {} MB: {names}", missing.div_ceil(1_000_000)));
        apt.download(packages, folder)?;
    }
    files
        .iter()
        .map(|deb| {
            let file = folder.join(&deb.file);
            if !is_whole(&file, deb.bytes) {
                bail!("apt-get did not download {}", deb.file);
            }
            Ok(file)
        })
        .collect()
}

/// Unpacks package files into a folder as the current user, without what matches `left_out` (tar's patterns).
///
/// # Errors
/// If a package is damaged (it is then removed), or the folder can't be written.
pub(crate) fn unpack(debs: &[PathBuf], into: &Path, left_out: &[&str]) -> Result<()> {
    say(&format!("unpacking {} packages into .tools", debs.len()));
    for deb in debs {
        let mut package = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped()).spawn()?;
        let pipe = package.stdout.take().context("dpkg-deb has no output")?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--no-same-owner", "--keep-directory-symlink", "--directory"]).arg(into);
        tar.args(left_out.iter().map(|pattern| format!("--exclude={pattern}"))).stdin(pipe);
        let unpacked = run(&mut tar);
        let read = package.wait()?;
        if unpacked.is_err() || !read.success() {
            // A file that lost its content, for instance in a power failure, has to be downloaded again.
            let _ = fs::remove_file(deb);
            unpacked
                .and_then(|()| bail!("dpkg-deb failed ({read})"))
                .with_context(|| format!("cannot unpack {}; try again", deb.display()))?;
        }
    }
    Ok(())
}
