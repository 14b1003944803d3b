//! Writes the archive that a kernel unpacks as its first file system (Documentation/driver-api/early-userspace). Folders are
//! made as needed, and of several entries with one name the first stays.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use cpio::newc::{Builder, trailer};

const FOLDER: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const FILE: u32 = 0o100_000;

/// An archive that is being written. Everything in it belongs to root; folders are made as needed.
pub(crate) struct Archive<W> {
    out: W,
    number: u32,
    /// The names that it already has, without the leading slash.
    names: BTreeSet<String>,
}

impl Archive<BufWriter<File>> {
    /// Creates the archive file.
    ///
    /// # Errors
    /// If it can't be created.
    pub(crate) fn create(file: &Path) -> io::Result<Self> {
        Ok(Self::new(BufWriter::new(File::create(file)?)))
    }
}

impl<W: Write> Archive<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, number: 0, names: BTreeSet::new() }
    }

    /// Reports whether the archive has an entry with that absolute name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains(name.trim_start_matches('/'))
    }

    /// Adds a folder, and its parents.
    ///
    /// # Errors
    /// If the archive can't be written.
    pub(crate) fn folder(&mut self, name: &str) -> io::Result<()> {
        let name = name.trim_matches('/');
        if name.is_empty() || self.has(name) {
            return Ok(());
        }
        self.parents(name)?;
        self.entry(name, FOLDER, &[])
    }

    /// Adds a file with its permission bits; an existing one stays as it is.
    ///
    /// # Errors
    /// If the archive can't be written.
    pub(crate) fn file(&mut self, name: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        let name = name.trim_start_matches('/');
        if self.has(name) {
            return Ok(());
        }
        self.parents(name)?;
        self.entry(name, FILE | permissions, content)
    }

    /// Adds a symbolic link; an existing one stays as it is.
    ///
    /// # Errors
    /// If the archive can't be written.
    pub(crate) fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        let name = name.trim_start_matches('/');
        if self.has(name) {
            return Ok(());
        }
        self.parents(name)?;
        self.entry(name, LINK, target.as_bytes())
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// If it can't be written.
    pub(crate) fn finish(self) -> io::Result<W> {
        let mut out = trailer(self.out)?;
        out.flush()?;
        Ok(out)
    }

    fn parents(&mut self, name: &str) -> io::Result<()> {
        match name.rsplit_once('/') {
            Some((parent, _)) => self.folder(parent),
            None => Ok(()),
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.names.insert(name.to_owned());
        self.number += 1;
        let bytes = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut entry = Builder::new(name).ino(self.number).mode(mode).nlink(1).write(&mut self.out, bytes);
        entry.write_all(content)?;
        entry.finish().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads names, modes and contents, the way the kernel's init/initramfs.c does.
    fn read(mut bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            let field = |index: usize| {
                let at = 6 + 8 * index;
                u32::from_str_radix(std::str::from_utf8(&bytes[at..at + 8]).unwrap(), 16).unwrap()
            };
            assert_eq!(&bytes[..6], b"070701");
            let (mode, size, length) = (field(1), field(6) as usize, field(11) as usize);
            let name = std::str::from_utf8(&bytes[110..110 + length - 1]).unwrap().to_owned();
            assert_eq!(bytes[110 + length - 1], 0);
            let start = (110 + length).next_multiple_of(4);
            let content = bytes[start..start + size].to_vec();
            if name == "TRAILER!!!" {
                return entries;
            }
            entries.push((name, mode, content));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn what_is_put_in_comes_out_behind_the_folders_it_lies_in() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/usr/bin/probe", 0o755, b"seven bytes"[..7].as_ref()).unwrap();
        archive.link("/bin", "usr/bin").unwrap();
        archive.file("/usr/bin/ip", 0o755, b"").unwrap();
        archive.file("/usr/bin/ip", 0o755, b"again").unwrap();
        archive.folder("/proc/").unwrap();
        assert!(archive.has("/usr/bin") && !archive.has("/usr/lib"));
        let entries = read(&archive.finish().unwrap());
        let names: Vec<_> = entries.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["usr", "usr/bin", "usr/bin/probe", "bin", "usr/bin/ip", "proc"]);
        assert_eq!(entries[2], ("usr/bin/probe".to_owned(), 0o100_755, b"seven b".to_vec()));
        assert_eq!(entries[3], ("bin".to_owned(), 0o120_777, b"usr/bin".to_vec()));
        assert_eq!(entries[4].2, b"", "the first stays");
    }
}
