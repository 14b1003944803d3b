//! The network selftests of a kernel's source, from Debian's archive: downloaded and unpacked, never installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    setup::{apt::Apt, debs},
    shell::{capture, run, say, which},
};

/// The folder of the scripts in the source.
const TESTS: &str = "tools/testing/selftests";

/// Returns the folder of the network selftests below `folder`, which holds what was fetched before.
///
/// # Errors
/// The archive has no such source, or cannot be reached.
pub(super) fn scripts(folder: &Path, series: &str) -> Result<PathBuf> {
    let root = folder.join(series);
    let net = root.join(TESTS).join("net");
    if !net.join("nettest.c").is_file() {
        if !Apt::is_here() {
            bail!("this system has no apt to fetch the kernel's source with — run this on Debian or a derivative");
        }
        let name = format!("linux-source-{series}");
        let apt = Apt::update(folder.join("apt"))?;
        let package = apt.show(&name).with_context(|| format!("this system's package archive has no {name}"))?.package;
        let files = debs::fetch(&apt, &[package], &folder.join("debs"))?;
        unpack(&files, folder, &root, &name)?;
    }
    helper(&net)?;
    Ok(net)
}

/// Unpacks the selftests alone: the whole source is a gigabyte.
fn unpack(debs: &[PathBuf], folder: &Path, root: &Path, name: &str) -> Result<()> {
    let packed = folder.join("packed");
    fs::create_dir_all(&packed).with_context(|| format!("cannot make {}", packed.display()))?;
    debs::unpack(debs, &packed, &["./usr/share", "*/patches*"])?;
    let archive = packed.join(format!("usr/src/{name}.tar.xz"));
    if !archive.is_file() {
        bail!("{name} holds no {}", archive.display());
    }
    say("unpacking the selftests: half a minute");
    fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(root);
    run(tar.args(["--strip-components=1", "--no-same-owner"]).arg(format!("{name}/{TESTS}")))?;
    fs::remove_dir_all(&packed).with_context(|| format!("cannot remove {}", packed.display()))
}

/// Compiles the scripts' own helper, without which the longest of them runs nothing.
fn helper(net: &Path) -> Result<()> {
    let program = net.join("nettest");
    if program.is_file() {
        return Ok(());
    }
    if which("cc").is_none() {
        say("without a C compiler fcnal-test.sh skips itself: install gcc");
        return Ok(());
    }
    capture(Command::new("cc").args(["-O1", "-w", "-o"]).arg(program).arg(net.join("nettest.c"))).map(drop)
}
