//! Which `bpf-linker` fits an LLVM: the registry says what each version can be built with.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::{
    shell::{capture, cargo, run},
    toolchain,
};

/// How many older minor versions are tried.
const LOOK_BACK: u32 = 12;

/// A version of `bpf-linker` and the LLVM to build it with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkerRelease {
    /// The version in the registry.
    pub(crate) version: String,
    /// The major version of LLVM; `bpf-linker` has a feature for each that it supports.
    pub(crate) llvm: u32,
}

impl LinkerRelease {
    /// Formats it as one line, for a file and for output.
    pub(crate) fn line(&self) -> String {
        format!("bpf-linker {} llvm-{}", self.version, self.llvm)
    }

    /// Parses the output of [`LinkerRelease::line`].
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (version, llvm) = line.strip_prefix("bpf-linker ")?.split_once(" llvm-")?;
        Some(Self { version: version.to_owned(), llvm: llvm.parse().ok()? })
    }
}

/// Chooses the newest `bpf-linker` that can be built with an available LLVM which is not older than the compiler's.
///
/// # Errors
/// If there is none; the error lists what was tried.
pub(crate) fn choose(compiler: u32, at_hand: &[u32]) -> Result<LinkerRelease> {
    let mut seen = Vec::new();
    let mut wanted = "bpf-linker".to_owned();
    for _ in 0..LOOK_BACK {
        let answer = capture(cargo().args(["info", "--color", "never", "--quiet", &wanted]));
        // Not every minor version was published, but the first query has to succeed.
        let offer = match answer {
            Ok(text) => Some(offer(&text).context("cargo info does not say which features bpf-linker has")?),
            Err(error) if seen.is_empty() => return Err(error.context("cannot ask the registry for bpf-linker")),
            Err(_) => None,
        };
        if let Some((version, llvms)) = offer {
            if let Some(llvm) = fitting(&llvms, compiler, at_hand) {
                return Ok(LinkerRelease { version, llvm });
            }
            let llvms = llvms.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            wanted.clone_from(&version);
            seen.push(format!("{version} (LLVM {llvms})"));
        }
        let Some(earlier) = minor_before(&wanted) else { break };
        wanted = format!("bpf-linker@{earlier}");
    }
    let at_hand = at_hand.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    bail!(
        "no bpf-linker can be built for this compiler's LLVM {compiler}: the archive has LLVM {at_hand}, \
         and the registry has bpf-linker {}",
        seen.join(", ")
    );
}

/// Builds it into `<tools>/bin` against the LLVM in `root`; cargo resumes an interrupted build.
///
/// # Errors
/// If it doesn't build, or the registry can't be reached.
pub(crate) fn install(choice: &LinkerRelease, root: &Path, tools: &Path) -> Result<()> {
    let mut command = cargo();
    command.args(["install", "bpf-linker", "--locked", "--force", "--no-default-features", "--no-track"]);
    command.args(["--version", &format!("={}", choice.version), "--features", &format!("llvm-{}", choice.llvm)]);
    command.arg("--root").arg(tools).arg("--target-dir").arg(tools.join("build"));
    command.env("LLVM_PREFIX", root.join(format!("usr/lib/llvm-{}", choice.llvm)));
    // The system's linker looks there for the libraries that libLLVM needs.
    command.env("LD_LIBRARY_PATH", toolchain::library_path(&toolchain::libraries(root)));
    command.env("CARGO_PROFILE_RELEASE_DEBUG", "false").env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    run(&mut command)
}

/// Returns the lowest LLVM that the linker supports, that is available, and that reads the compiler's output.
fn fitting(supported: &BTreeSet<u32>, compiler: u32, at_hand: &[u32]) -> Option<u32> {
    supported.iter().copied().find(|llvm| *llvm >= compiler && at_hand.contains(llvm))
}

/// Parses the version, and the LLVMs for which there is a feature, from the output of `cargo info`.
fn offer(text: &str) -> Option<(String, BTreeSet<u32>)> {
    let version = text.lines().find_map(|line| line.strip_prefix("version:"))?.split_whitespace().next()?;
    let features = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.trim());
    let llvms = features.filter_map(|name| name.strip_prefix("llvm-")?.parse().ok()).collect();
    Some((version.to_owned(), llvms))
}

/// Returns the minor version before: `0.12` for both `0.13.2` and `bpf-linker@0.13`.
fn minor_before(version: &str) -> Option<String> {
    let version = version.rsplit('@').next()?;
    let mut parts = version.split('.');
    let (major, minor) = (parts.next()?, parts.next()?.parse::<u32>().ok()?);
    Some(format!("{major}.{}", minor.checked_sub(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "bpf-linker #BPF #eBPF\nBPF static linker\nversion: 0.12.0 (latest 0.13.0)\nlicense: MIT OR Apache-2.0\n\
        features:\n +default          = [llvm-23]\n  llvm-23          = [dep:llvm-sys-23]\n  llvm-21          = [dep:llvm-sys-21]\n  \
        llvm-22          = [dep:llvm-sys-22]\n  llvm-link-static = []\n  rust-llvm-21 = [llvm-21]\n";

    #[test]
    fn features_name_the_llvms() {
        assert_eq!(offer(INFO), Some(("0.12.0".to_owned(), BTreeSet::from([21, 22, 23]))));
        assert_eq!(offer("error: could not find"), None);
    }

    #[test]
    fn the_linkers_llvm_is_never_older_than_the_compilers() {
        let supported = BTreeSet::from([21, 22, 23]);
        assert_eq!(fitting(&supported, 22, &[19, 21, 22, 23]), Some(22));
        assert_eq!(fitting(&supported, 22, &[19, 21, 23]), Some(23));
        assert_eq!(fitting(&supported, 22, &[19, 21]), None);
    }

    #[test]
    fn the_search_goes_back_by_minor_versions() {
        assert_eq!(minor_before("0.13.2").as_deref(), Some("0.12"));
        assert_eq!(minor_before("bpf-linker@0.12").as_deref(), Some("0.11"));
        assert_eq!(minor_before("0.0.1"), None);
        assert_eq!(minor_before("bpf-linker"), None);
    }

    #[test]
    fn a_choice_survives_its_line() {
        let choice = LinkerRelease { version: "0.13.0".to_owned(), llvm: 22 };
        assert_eq!(LinkerRelease::parse(&choice.line()), Some(choice));
    }
}
