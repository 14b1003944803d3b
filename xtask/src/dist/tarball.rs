//! Archives whose bytes depend on nothing but what is in them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use super::contents::{Piece, ReleaseContents};

/// A tar archive in memory: all is root's, and of one time.
pub(crate) struct Tarball {
    out: Builder<Vec<u8>>,
    epoch: u32,
    folders: BTreeSet<String>,
}

impl Tarball {
    /// Begins one.
    pub(crate) fn new(epoch: u32) -> Self {
        Self { out: Builder::new(Vec::new()), epoch, folders: BTreeSet::new() }
    }

    /// Adds a file, and the folders that lead to it. Paths have no slash in front.
    ///
    /// # Errors
    /// If the path is too long for a tar archive.
    pub(crate) fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        for (at, _) in path.match_indices('/') {
            let folder = &path[..=at];
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder, EntryType::Directory, 0o755, &[])?;
            }
        }
        self.entry(path, EntryType::Regular, mode, bytes)
    }

    fn entry(&mut self, path: &str, kind: EntryType, mode: u32, bytes: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.epoch.into());
        header.set_size(u64::try_from(bytes.len()).context("a file is too large")?);
        header.set_username("root").and_then(|()| header.set_groupname("root")).context("root is a name")?;
        self.out.append_data(&mut header, path, bytes).with_context(|| format!("{path} cannot be archived"))
    }

    /// Returns the archive.
    ///
    /// # Errors
    /// Never in practice: it is in memory.
    pub(crate) fn done(self) -> Result<Vec<u8>> {
        self.out.into_inner().context("the archive cannot be written")
    }
}

/// Compresses, without a name or a time.
///
/// # Errors
/// Never in practice: it is in memory.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write as _;
    let mut out: GzEncoder<Vec<u8>> = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    out.write_all(bytes).and_then(|()| out.finish()).context("cannot compress")
}

/// Returns the archive that somebody unpacks by hand, all of it in the folder `top`.
///
/// # Errors
/// As [`Tarball::file`].
pub(crate) fn of_release(contents: &ReleaseContents, top: &str, epoch: u32) -> Result<Vec<u8>> {
    let mut tar = Tarball::new(epoch);
    tar.file(&format!("{top}/probe"), 0o755, &contents.program.bytes)?;
    let folders: [(&str, &[Piece]); 4] = [
        ("man/man1/", &contents.pages),
        ("completions/", &contents.completions),
        ("systemd/", &contents.units),
        ("", &contents.licences),
    ];
    for (folder, pieces) in folders {
        for piece in pieces {
            tar.file(&format!("{top}/{folder}{}", piece.name), 0o644, &piece.bytes)?;
        }
    }
    gzip(&tar.done()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_contents_are_the_same_bytes_and_belong_to_root() {
        let made = || {
            let mut tar = Tarball::new(1_796_092_767);
            tar.file("usr/bin/probe", 0o755, b"program").unwrap();
            tar.file("usr/bin/other", 0o644, b"").unwrap();
            tar.done().unwrap()
        };
        assert_eq!(gzip(&made()).unwrap(), gzip(&made()).unwrap());
        let bytes = made();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                assert_eq!((entry.header().uid().unwrap(), entry.header().mtime().unwrap()), (0, 1_796_092_767));
                String::from_utf8(entry.path_bytes().into_owned()).unwrap()
            })
            .collect();
        assert_eq!(names, ["usr/", "usr/bin/", "usr/bin/probe", "usr/bin/other"]);
    }
}
