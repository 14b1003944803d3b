//! The Rust files of the workspace, with their paths in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// One Rust file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Its path relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Reads all Rust files of the crates, sorted by path.
///
/// # Errors
/// If one can't be read.
pub(crate) fn all(repo: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for part in ["probe-ebpf", "probe-user", "xtask"] {
        collect(&repo.join(part), &mut files)?;
    }
    files.sort();
    let read = |file: PathBuf| {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let path = file.strip_prefix(repo).unwrap_or(&file).to_string_lossy().into_owned();
        Ok(SourceFile { path, text })
    };
    files.into_iter().map(read).collect()
}

/// Returns the module of a path: `probe-user/src/kernel/hops/xdp.rs` is `kernel::hops::xdp`.
pub(crate) fn module(path: &str) -> Vec<String> {
    let inside = path.split_once("/src/").map_or(path, |(_, inside)| inside);
    let inside = inside.strip_suffix(".rs").unwrap_or(inside);
    if ["lib", "main"].contains(&inside) {
        return Vec::new();
    }
    inside.split('/').map(str::to_owned).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
