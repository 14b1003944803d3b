//! What a release is for: a processor architecture and a C library, under every name that packages give them.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::shell::{capture, cargo, which};

/// What a release is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReleaseTarget {
    /// The compiler's name for it.
    pub(crate) triple: String,
    /// The processor architecture as the kernel and rpm call it.
    pub(crate) arch: &'static str,
    /// The same as dpkg and container images call it.
    pub(crate) deb: &'static str,
    /// The prefix of its cross compiler.
    prefix: &'static str,
    /// The dynamic loader's machine number in ELF.
    pub(crate) elf_machine: u16,
}

/// Triple, architecture, dpkg's name, prefix of its tools, `e_machine`.
const KNOWN: [(&str, &str, &str, &str, u16); 4] = [
    ("x86_64-unknown-linux-gnu", "x86_64", "amd64", "x86_64-linux-gnu-", 62),
    ("x86_64-unknown-linux-musl", "x86_64", "amd64", "x86_64-linux-musl-", 62),
    ("aarch64-unknown-linux-gnu", "aarch64", "arm64", "aarch64-linux-gnu-", 183),
    ("aarch64-unknown-linux-musl", "aarch64", "arm64", "aarch64-linux-musl-", 183),
];

impl ReleaseTarget {
    /// Returns the target of this name, or this machine's.
    ///
    /// # Errors
    /// It is not one that releases are made for, or this toolchain has no standard library for it.
    pub(crate) fn named(name: Option<&str>) -> Result<Self> {
        let host = host()?;
        let triple = name.unwrap_or(&host);
        let target = Self::known(triple)?;
        if target.triple != host && !has_library(triple)? {
            bail!("this Rust has no standard library for {triple} — run: rustup target add {triple}");
        }
        Ok(target)
    }

    fn known(triple: &str) -> Result<Self> {
        let found = KNOWN.iter().find(|(name, ..)| *name == triple);
        let Some(&(name, arch, deb, prefix, elf_machine)) = found else {
            let names = KNOWN.map(|(name, ..)| name).join(", ");
            bail!("no release is made for {triple} — one of {names}");
        };
        Ok(Self { triple: name.to_owned(), arch, deb, prefix, elf_machine })
    }

    /// Returns the linker to use, if not the compiler's usual one.
    ///
    /// # Errors
    /// There is none for this target.
    pub(crate) fn linker(&self) -> Result<Option<PathBuf>> {
        if self.runs_here() {
            return Ok(None);
        }
        let name = format!("{}gcc", self.prefix);
        let package = name.trim_end_matches("gcc").trim_end_matches('-');
        which(&name)
            .map(Some)
            .with_context(|| format!("{} needs {name} to link — run: apt-get install gcc-{package}", self.triple))
    }

    /// Reports whether a program for it can be run on this machine.
    pub(crate) fn runs_here(&self) -> bool {
        self.arch == std::env::consts::ARCH
    }

    /// Reports whether the C library is glibc, of which a static program holds parts.
    pub(crate) fn is_glibc(&self) -> bool {
        self.triple.ends_with("-gnu")
    }

    /// Returns the name of the program's file beside others: `probe-aarch64`; a probe looks for it there (`--deploy`).
    pub(crate) fn program_name(&self) -> String {
        format!("probe-{}", self.arch)
    }
}

fn host() -> Result<String> {
    let about = capture(cargo().arg("-vV"))?;
    about.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("cargo -vV names no host")
}

fn has_library(triple: &str) -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = std::process::Command::new(rustc);
    command.args(["--print", "target-libdir", "--target", triple]);
    Ok(PathBuf::from(capture(&mut command)?.trim()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_the_names_of_every_package_format() {
        let target = ReleaseTarget::known("aarch64-unknown-linux-gnu").unwrap();
        assert_eq!((target.arch, target.deb, target.program_name().as_str()), ("aarch64", "arm64", "probe-aarch64"));
        assert!(target.is_glibc() && !ReleaseTarget::known("x86_64-unknown-linux-musl").unwrap().is_glibc());
    }

    #[test]
    fn an_unknown_target_is_refused_with_those_that_are_known() {
        for name in ["", "aarch64", "x86_64-pc-windows-msvc", "x86_64-unknown-linux-gnux32"] {
            let error = ReleaseTarget::known(name).unwrap_err().to_string();
            assert!(error.contains("x86_64-unknown-linux-gnu,"), "{error}");
        }
    }
}
