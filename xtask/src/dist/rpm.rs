//! The package for rpm.

use anyhow::{Context as _, Result};
use rpm::{BuildConfig, CompressionType, FileOptions, PackageBuilder, Timestamp};

use super::{Release, contents::Piece, deb::SUMMARY, tarball::gzip};

/// Returns the package.
///
/// # Errors
/// As the `rpm` crate tells; never for the files of a release.
pub(crate) fn package(release: &Release) -> Result<Vec<u8>> {
    let Release { target, revision, contents } = release;
    let time = Timestamp::from(revision.epoch);
    let version = revision.version();
    let mut package =
        PackageBuilder::new("probe", &version, "(MIT OR Apache-2.0) AND GPL-2.0-only", target.arch, SUMMARY);
    package.using_config(BuildConfig::v4().compression(CompressionType::Gzip).source_date(time));
    package.release("1").build_host("localhost").description(
        "Watches ICMP echo (ping) at every hop of the kernel, here and on a far host, and says exactly where it\n\
         stops, and why. Its eBPF programs are inside of it.",
    );
    let mut add = |path: String, mode: u16, bytes: &[u8], what: What| -> Result<()> {
        let options = FileOptions::new(path.clone()).permissions(mode).modified_at(time);
        let options = match what {
            What::Plain => options,
            What::Page => options.doc(),
            What::Licence => options.license(),
        };
        package.with_file_contents(bytes, options).map(drop).with_context(|| format!("{path} cannot be packed"))
    };
    add("/usr/bin/probe".to_owned(), 0o755, &contents.program.bytes, What::Plain)?;
    let folders = [
        "/usr/share/bash-completion/completions",
        "/usr/share/zsh/site-functions",
        "/usr/share/fish/vendor_completions.d",
    ];
    let at = |folder: &str, piece: &Piece| format!("{folder}/{}", piece.name);
    for (folder, piece) in folders.iter().zip(&contents.completions) {
        add(at(folder, piece), 0o644, &piece.bytes, What::Plain)?;
    }
    for page in &contents.pages {
        add(format!("/usr/share/man/man1/{}.gz", page.name), 0o644, &gzip(&page.bytes)?, What::Page)?;
    }
    for unit in &contents.units {
        add(at("/usr/lib/systemd/system", unit), 0o644, &unit.bytes, What::Plain)?;
    }
    for licence in &contents.licences {
        add(at("/usr/share/licenses/probe", licence), 0o644, &licence.bytes, What::Licence)?;
    }
    let mut bytes = Vec::new();
    package.build().and_then(|package| package.write(&mut bytes)).context("the package cannot be made")?;
    Ok(bytes)
}

#[derive(Clone, Copy)]
enum What {
    Plain,
    Page,
    Licence,
}
