//! The licences of what others wrote and the program holds: nearly all ask for their text to go with it.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use super::metadata::{Metadata, Part};

const GLIBC: &str = "The program also holds parts of the GNU C Library, which is under the GNU Lesser General Public License,\n\
    version 2.1 or later (https://www.gnu.org/licenses/old-licenses/lgpl-2.1.html). Its sources are those of the\n\
    distribution that this program was built on; the sources of everything else, with what builds the program, are\n\
    public, so that it can be linked with another version of the library: cargo xtask dist.\n";

/// Returns the text of all of them, each once.
///
/// # Errors
/// If a package's folder cannot be read.
pub(crate) fn of(metadata: &Metadata, is_glibc: bool) -> Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for part in &metadata.parts {
        let label = format!("{} {}", part.name, part.version);
        let found = texts_in(&part.folder).with_context(|| format!("cannot read the licences of {label}"))?;
        if found.is_empty() {
            without.push(part);
        }
        for text in found {
            texts.entry(text).or_default().push(label.clone());
        }
    }
    let mut texts: Vec<(String, Vec<String>)> = texts.into_iter().collect();
    texts.sort_by(|(_, one), (_, other)| one.cmp(other));
    Ok(written(&texts, &without, is_glibc))
}

fn written(texts: &[(String, Vec<String>)], without: &[&Part], is_glibc: bool) -> String {
    let mut all = "What others wrote, and this program holds.\n\n".to_owned();
    if is_glibc {
        all.push_str(GLIBC);
    }
    if !without.is_empty() {
        all.push_str("\nPackages that come without a text of their licence:\n\n");
    }
    // Writing to a string cannot fail.
    for part in without {
        let _ = writeln!(all, "    {} {}: {}", part.name, part.version, part.licence);
    }
    for (text, labels) in texts {
        let _ = writeln!(all, "\n{}\n{}\n\n{text}", "=".repeat(80), labels.join(", "));
    }
    all
}

/// Returns the licences in a package's top folder.
fn texts_in(folder: &Path) -> Result<Vec<String>> {
    let mut files: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let is_licence = |name: &str| ["LICENSE", "LICENCE", "COPYING", "NOTICE"].iter().any(|word| name.starts_with(word));
    let wanted =
        |file: &&fs::DirEntry| is_licence(&file.file_name().to_string_lossy().to_uppercase()) && file.path().is_file();
    let read = |file: &fs::DirEntry| Ok(String::from_utf8_lossy(&fs::read(file.path())?).trim().replace('\r', ""));
    files.iter().filter(wanted).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_several_packages_stands_once_and_one_without_is_named() {
        let labels = vec!["a 1.0.0".to_owned(), "b 2.0.0".to_owned()];
        let bare =
            Part { name: "c".into(), version: "3.0.0".into(), licence: "MIT".into(), sha256: None, folder: "/".into() };
        let all = written(&[("Do as you like.".to_owned(), labels)], &[&bare], true);
        assert!(all.contains("a 1.0.0, b 2.0.0\n\nDo as you like.") && all.contains("    c 3.0.0: MIT\n"), "{all}");
        assert!(all.contains("Lesser") && !written(&[], &[], false).contains("Lesser"));
    }
}
