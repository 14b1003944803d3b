//! The files of a release, wherever they are then put: program, man pages, completions, licences, units.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{metadata::Metadata, notices, program, target::ReleaseTarget};
use crate::shell::{capture, repo, say};

/// A file of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its name in its folder.
    pub(crate) name: String,
    /// What is in it.
    pub(crate) bytes: Vec<u8>,
}

/// What a release holds.
#[derive(Debug)]
pub(crate) struct ReleaseContents {
    /// The program.
    pub(crate) program: Piece,
    /// Man pages of section 1.
    pub(crate) pages: Vec<Piece>,
    /// Completions for bash, zsh and fish, in that order.
    pub(crate) completions: [Piece; 3],
    /// Licences of probe, and of what others wrote.
    pub(crate) licences: Vec<Piece>,
    /// Units for systemd.
    pub(crate) units: Vec<Piece>,
}

const LICENCES: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", "LICENSE-GPL-2.0"];
const COMPLETIONS: [(&str, &str); 3] = [("bash", "probe"), ("zsh", "_probe"), ("fish", "probe.fish")];

impl ReleaseContents {
    /// Gathers the files, and makes those that come from the program's own definitions.
    ///
    /// # Errors
    /// A file cannot be read, or the program does not run.
    pub(crate) fn gather(target: &ReleaseTarget, program: &[u8], metadata: &Metadata) -> Result<Self> {
        let scratch = Scratch::new()?;
        let runs = program::that_runs_here(target, &scratch.0, program)?;
        say("making man pages and completions");
        let pages = scratch.0.join("man");
        capture(std::process::Command::new(&runs).args(["man", "--all"]).arg(&pages))?;
        let completion = |(shell, name): (&str, &str)| -> Result<Piece> {
            let text = capture(std::process::Command::new(&runs).args(["completions", shell]))?;
            Ok(Piece { name: name.to_owned(), bytes: text.into_bytes() })
        };
        let [bash, zsh, fish] = COMPLETIONS.map(completion);
        let mut licences = LICENCES.map(|name| piece(&repo().join(name))).into_iter().collect::<Result<Vec<_>>>()?;
        let notices = notices::of(metadata, target.is_glibc())?;
        licences.push(Piece { name: "LICENSES-OF-OTHERS".to_owned(), bytes: notices.into_bytes() });
        Ok(Self {
            program: Piece { name: "probe".to_owned(), bytes: program.to_vec() },
            pages: in_folder(&pages)?,
            completions: [bash?, zsh?, fish?],
            licences,
            units: in_folder(&repo().join("deploy/systemd"))?,
        })
    }
}

fn piece(file: &Path) -> Result<Piece> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Piece { name: file.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes })
}

/// Returns a folder's files by name, whatever order the file system has them in.
fn in_folder(folder: &Path) -> Result<Vec<Piece>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    files.iter().map(|file| piece(file)).collect()
}

/// A folder for what is only needed meanwhile.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Makes one that no other process uses.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn new() -> Result<Self> {
        let folder =
            env::temp_dir().join(format!("probe-dist-{}-{:?}", std::process::id(), std::thread::current().id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
