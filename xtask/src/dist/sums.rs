//! SHA256SUMS: what `sha256sum --check` reads.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// The name of the file of sums.
const NAME: &str = "SHA256SUMS";

/// Returns the SHA-256 of some bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the sums of all releases in a folder: those for several targets share it.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn write(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let is_ours = |name: &OsStr| name.to_string_lossy().starts_with("probe");
    files.retain(|file| file.is_file() && file.file_name().is_some_and(is_ours));
    files.sort();
    let mut sums = String::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Writing to a string cannot fail.
        let _ = writeln!(sums, "{}  {name}", sha256(&bytes));
    }
    let file = folder.join(NAME);
    fs::write(&file, sums).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
