//! Fetches kernels to boot, and QEMU, from Debian's archive into `.tools/kernels`: nothing is installed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    setup::{
        apt::{Apt, Package},
        debs,
    },
    shell::{repo, say, which},
    toolchain::{self, TOOLS},
};

/// The name of Debian's kernels for virtual machines: small, and with everything that the lab needs.
const KERNEL: (&str, &str) = ("linux-image-", "-cloud-amd64");
const EMULATOR: (&str, &str) = ("qemu-system-x86_64", "qemu-system-x86");
/// Where Debian's archive has the kernels of a series, whatever release this system is of.
const SUITES: [(&str, &[&str]); 3] = [
    ("5.10", &["bullseye", "bullseye-security"]),
    ("6.1", &["bookworm", "bookworm-security"]),
    ("6.12", &["trixie", "trixie-security"]),
];
/// Debian's public keys, of the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const NO_APT: &str = "this system has no apt to fetch kernels with — run this on Debian or a derivative";
/// The file that a folder has only when it is complete.
const COMPLETE: &str = "whole";

/// A kernel, unpacked.
pub(crate) struct Kernel {
    /// The release as `uname -r` reports it.
    pub(crate) release: String,
    /// The file that a boot loader loads.
    pub(crate) image: PathBuf,
    /// The folder of its modules.
    pub(crate) modules: PathBuf,
}

/// QEMU, the system's own or an unpacked one.
pub(crate) struct Emulator {
    pub(crate) program: PathBuf,
    /// The folders for `LD_LIBRARY_PATH`.
    pub(crate) libraries: Vec<PathBuf>,
    /// Where its firmware is, unless it knows.
    pub(crate) firmware: Vec<PathBuf>,
}

/// The archive, queried at most once, and only if something is missing.
pub(crate) struct Store {
    folder: PathBuf,
    apt: Option<Apt>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { folder: repo().join(TOOLS).join("kernels"), apt: None }
    }

    /// Returns the newest kernel of a series such as 6.1, downloaded if there is none of it here.
    ///
    /// # Errors
    /// If the archive has none, or can't be reached.
    pub(crate) fn kernel(&mut self, series: &str) -> Result<Kernel> {
        if let Some(kernel) = self.unpacked(series) {
            return Ok(kernel);
        }
        say(&format!("fetching Debian's Linux {series} into .tools/kernels: probe will be tested on it"));
        let folder = self.folder.clone();
        let suites = suites(series);
        let own = match suites.first() {
            Some(first) => Some(from_debian(folder.join(format!("apt-{first}")), suites)?),
            None => None,
        };
        let apt = match &own {
            Some(apt) => apt,
            None => self.apt()?,
        };
        let names = apt.names(&format!("{}{series}", KERNEL.0))?;
        let Some(release) = newest(&names, series) else {
            let why = if apt.is_complete { "" } else { " (apt could not reach every source of packages, see above)" };
            let place = if own.is_some() { suites.join(", ") } else { "this system's package archive".to_owned() };
            bail!("{place}: no package {}{series}.*{}{why}", KERNEL.0, KERNEL.1);
        };
        let name = format!("{}{release}{}", KERNEL.0, KERNEL.1);
        let package =
            apt.show(&name).with_context(|| format!("the archive names {name} but does not have it"))?.package;
        let files = debs::fetch(apt, &[package], &folder.join("debs"))?;
        let kernel = place(&folder, &format!("{release}{}", KERNEL.1));
        fill(&folder.join(&kernel.release), &files, &["./usr/share", "./usr/lib/debug", "./boot/System.map*"])?;
        Ok(kernel)
    }

    /// Returns QEMU for x86-64: the system's, else one that is downloaded.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn emulator(&mut self) -> Result<Emulator> {
        if let Some(program) = which(EMULATOR.0) {
            return Ok(Emulator { program, libraries: Vec::new(), firmware: Vec::new() });
        }
        let root = self.folder.join("qemu");
        if !root.join(COMPLETE).is_file() {
            say(
                "fetching QEMU into .tools/kernels: other kernels are booted in it; without root, and nothing is installed",
            );
            let debs_folder = self.folder.join("debs");
            let apt = self.apt()?;
            let name = EMULATOR.1;
            let qemu = apt.show(name).with_context(|| format!("this system's package archive has no {name}"))?.package;
            let packages: Vec<Package> = apt.missing_for(&[qemu])?;
            let files = debs::fetch(apt, &packages, &debs_folder)?;
            fill(&root, &files, &["./usr/share/doc", "./usr/share/man", "./usr/share/locale"])?;
        }
        let share = root.join("usr/share");
        Ok(Emulator {
            program: root.join("usr/bin").join(EMULATOR.0),
            libraries: toolchain::libraries(&root),
            firmware: vec![share.join("qemu"), share.join("seabios")],
        })
    }

    fn unpacked(&self, series: &str) -> Option<Kernel> {
        let entries = fs::read_dir(&self.folder).ok()?.flatten();
        let complete = entries.filter(|entry| entry.path().join(COMPLETE).is_file());
        let names: Vec<String> = complete.map(|entry| format!("{}{}", KERNEL.0, entry.file_name().display())).collect();
        newest(&names, series).map(|release| place(&self.folder, &format!("{release}{}", KERNEL.1)))
    }

    fn apt(&mut self) -> Result<&Apt> {
        if self.apt.is_none() {
            if !Apt::is_here() {
                bail!("{NO_APT}");
            }
            self.apt = Some(Apt::update(self.folder.join("apt"))?);
        }
        self.apt.as_ref().context("it was just made")
    }
}

fn place(folder: &Path, release: &str) -> Kernel {
    let root = folder.join(release);
    Kernel {
        release: release.to_owned(),
        image: root.join(format!("boot/vmlinuz-{release}")),
        modules: root.join("usr/lib/modules").join(release),
    }
}

/// Returns the suites of Debian's archive that have kernels of a series; none if only the system's own sources may.
fn suites(series: &str) -> &'static [&'static str] {
    SUITES.iter().find(|(of, _)| *of == series).map_or(&[], |(_, suites)| suites)
}

/// Returns apt with suites of Debian's archive as its only sources.
fn from_debian(folder: PathBuf, suites: &[&str]) -> Result<Apt> {
    if !Apt::is_here() {
        bail!("{NO_APT}");
    }
    Apt::update_from(folder, &sources(suites))
}

/// Returns the lines of a `sources.list` with these suites, whose signatures are checked with Debian's keys.
fn sources(suites: &[&str]) -> String {
    let line = |suite: &&str| {
        let archive = if suite.ends_with("-security") { "debian-security" } else { "debian" };
        format!("deb [arch=amd64 signed-by={KEYRING}] http://deb.debian.org/{archive} {suite} main\n")
    };
    suites.iter().map(line).collect()
}

/// Unpacks into a folder, and marks it as complete at the end.
fn fill(root: &Path, files: &[PathBuf], left_out: &[&str]) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    fs::create_dir_all(root.join("usr/lib")).with_context(|| format!("cannot make {}", root.display()))?;
    // Some packages still ship files in /lib.
    symlink("usr/lib", root.join("lib")).context("cannot make a link in .tools")?;
    debs::unpack(files, root, left_out)?;
    fs::write(root.join(COMPLETE), "").with_context(|| format!("cannot write into {}", root.display()))
}

/// Returns the newest release of a series among package names, without the suffix they share.
fn newest(names: &[String], series: &str) -> Option<String> {
    let release = |name: &String| {
        let release = name.strip_prefix(KERNEL.0)?.strip_suffix(KERNEL.1)?;
        release.strip_prefix(series)?.starts_with('.').then(|| release.to_owned())
    };
    names.iter().filter_map(release).max_by_key(|release| numbers(release))
}

fn numbers(release: &str) -> Vec<u32> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_come_from_suites_of_debian_whatever_this_system_is_and_only_if_signed_by_its_keys() {
        let lines = sources(suites("5.10"));
        assert_eq!(
            lines.lines().collect::<Vec<_>>(),
            [
                "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bullseye main",
                "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bullseye-security main"
            ]
        );
        assert!(suites("6.1").contains(&"bookworm") && suites("6.18").is_empty());
    }

    #[test]
    fn the_newest_kernel_of_a_series_is_chosen_and_no_other_series_and_no_meta_package() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-cloud-amd64-unsigned",
            "linux-image-6.12-cloud-amd64",
            "linux-image-6.12.99+deb12-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.200+deb12-amd64",
        ]
        .map(String::from);
        assert_eq!(newest(&names, "6.1").as_deref(), Some("6.1.0-56"));
        assert_eq!(newest(&names, "6.12").as_deref(), Some("6.12.117+deb12"));
        assert_eq!(newest(&names, "5.10"), None);
    }
}
