//! Requirements on every Rust file: a first sentence that says what it holds, and a limited length.

use anyhow::{Result, bail};

use super::sources::{self, SourceFile};
use crate::shell::repo;

const LONGEST: usize = 500;

/// Checks all files of the workspace.
///
/// # Errors
/// Names each file that fails, and why.
pub(crate) fn check() -> Result<()> {
    let faults: Vec<String> = sources::all(repo())?.iter().filter_map(fault).collect();
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    Ok(())
}

fn fault(source: &SourceFile) -> Option<String> {
    let lines = source.text.lines().count();
    if !source.text.starts_with("//! ") {
        return Some(format!("{} does not begin with a //! sentence", source.path));
    }
    (lines > LONGEST).then(|| format!("{} has {lines} lines, more than {LONGEST}", source.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: String) -> SourceFile {
        SourceFile { path: "a.rs".to_owned(), text }
    }

    #[test]
    fn a_file_needs_a_first_sentence_and_an_end() {
        assert_eq!(fault(&source("//! Holds nothing.\n".repeat(LONGEST))), None);
        assert!(fault(&source("use std::fs;\n".to_owned())).unwrap().contains("//!"));
        assert!(fault(&source("//! Long.\n".repeat(LONGEST + 1))).unwrap().contains("501 lines"));
    }
}
