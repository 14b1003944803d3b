//! The package for dpkg (deb(5)).

use anyhow::{Context as _, Result};
use ar::{Builder, Header};

use super::{
    Release,
    contents::Piece,
    tarball::{Tarball, gzip},
};

/// Returns the package.
///
/// # Errors
/// As [`Tarball::file`].
pub(crate) fn package(release: &Release) -> Result<Vec<u8>> {
    let epoch = release.revision.epoch;
    let mut data = Tarball::new(epoch);
    let mut bytes = 0;
    for (path, mode, content) in files(release)? {
        bytes += content.len();
        data.file(&path, mode, &content)?;
    }
    let mut control = Tarball::new(epoch);
    control.file("control", 0o644, control_file(release, bytes).as_bytes())?;
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", gzip(&control.done()?)?),
        ("data.tar.gz", gzip(&data.done()?)?),
    ];
    let mut archive = Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = Header::new(name.as_bytes().to_vec(), u64::try_from(bytes.len()).context("too large")?);
        header.set_mode(0o100_644);
        header.set_mtime(epoch.into());
        archive.append(&header, bytes.as_slice()).context("the package cannot be written")?;
    }
    archive.into_inner().context("the package cannot be written")
}

/// Returns where each file goes, with its mode.
fn files(release: &Release) -> Result<Vec<(String, u32, Vec<u8>)>> {
    let contents = &release.contents;
    let mut files = vec![("usr/bin/probe".to_owned(), 0o755, contents.program.bytes.clone())];
    let folders = [
        "usr/share/bash-completion/completions",
        "usr/share/zsh/vendor-completions",
        "usr/share/fish/vendor_completions.d",
    ];
    let plain = |folder: &str, piece: &Piece| (format!("{folder}/{}", piece.name), 0o644, piece.bytes.clone());
    files.extend(folders.iter().zip(&contents.completions).map(|(folder, piece)| plain(folder, piece)));
    for page in &contents.pages {
        files.push((format!("usr/share/man/man1/{}.gz", page.name), 0o644, gzip(&page.bytes)?));
    }
    files.extend(contents.units.iter().map(|unit| plain("lib/systemd/system", unit)));
    files.extend(contents.licences.iter().map(|text| plain("usr/share/doc/probe", text)));
    files.push(("usr/share/doc/probe/copyright".to_owned(), 0o644, COPYRIGHT.into()));
    Ok(files)
}

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: probe
Comment: The texts are beside this file: LICENSE-MIT, LICENSE-APACHE, LICENSE-GPL-2.0; those of what
 others wrote and the program holds are in LICENSES-OF-OTHERS.

Files: *
Copyright: the authors of probe
License: (Expat or Apache-2.0) and GPL-2
";

fn control_file(release: &Release, bytes: usize) -> String {
    format!(
        "Package: probe\n\
         Version: {version}\n\
         Architecture: {arch}\n\
         Maintainer: the authors of probe <probe@localhost>\n\
         Installed-Size: {kilobytes}\n\
         Section: net\n\
         Priority: optional\n\
         Description: {SUMMARY}\n\
         \x20Watches ICMP echo (ping) at every hop of the kernel, here and on a far host, and says\n\
         \x20exactly where it stops, and why. Its eBPF programs are inside of it.\n",
        version = release.revision.version(),
        arch = release.target.deb,
        kilobytes = bytes.div_ceil(1024),
    )
}

/// What the packages say of themselves in one line.
pub(crate) const SUMMARY: &str = "finds out where exactly pings stop, with eBPF";
