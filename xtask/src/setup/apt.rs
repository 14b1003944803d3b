//! Debian's archive through apt, with lists of its own: without root, and without the system's own lists, old or new.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::shell::{capture, is_root, run};

/// One version of one package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its full Debian version.
    pub(crate) version: String,
}

impl Package {
    /// Formats it the way apt takes it: `name=version`.
    pub(crate) fn exact(&self) -> String {
        format!("{}={}", self.name, self.version)
    }

    /// Parses the output of [`Package::exact`].
    pub(crate) fn parse(exact: &str) -> Option<Self> {
        let (name, version) = exact.split_once('=')?;
        Some(Self { name: name.to_owned(), version: version.to_owned() })
    }
}

/// What the archive reports about a package's newest version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PackageRecord {
    pub(crate) package: Package,
    /// The names in `Depends`, first alternatives only.
    pub(crate) depends: Vec<String>,
}

/// A package file in the archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Deb {
    pub(crate) file: String,
    pub(crate) bytes: u64,
}

/// apt, set up to keep its lists and caches in one folder.
pub(crate) struct Apt {
    folder: PathBuf,
    /// Whether every source of packages answered.
    pub(crate) is_complete: bool,
}

impl Apt {
    /// Reports whether this system has apt and can unpack its packages.
    pub(crate) fn is_here() -> bool {
        ["apt-get", "apt-cache", "dpkg-deb", "tar"].iter().all(|program| crate::shell::which(program).is_some())
    }

    /// Prepares the folder and downloads the lists of the system's sources.
    ///
    /// # Errors
    /// If the folder can't be written, or apt can't start; an unreachable archive shows up at the first query.
    pub(crate) fn update(folder: PathBuf) -> Result<Self> {
        Self::prepared(folder, "")
    }

    /// Prepares the folder and downloads the lists of these sources, lines of a `sources.list`, instead of the system's: it may
    /// know no other release of Debian than its own.
    ///
    /// # Errors
    /// See [`Apt::update`].
    pub(crate) fn update_from(folder: PathBuf, sources: &str) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let list = folder.join("sources.list");
        fs::write(&list, sources).with_context(|| format!("cannot write {}", list.display()))?;
        let only = format!("Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"/dev/null\";\n", list.display());
        Self::prepared(folder, &only)
    }

    fn prepared(folder: PathBuf, sources: &str) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part)).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let text = configuration(&folder) + sources;
        fs::write(folder.join("apt.conf"), text).context("cannot write apt.conf")?;
        let mut apt = Self { folder, is_complete: false };
        // A source that we do not need may be broken: only the packages requested later count.
        let mut update = apt.command("apt-get");
        apt.is_complete = run(update.args(["-q", "-o", "APT::Update::Error-Mode=any", "update"])).is_ok();
        Ok(apt)
    }

    /// Returns the names of all packages that start with `prefix`.
    ///
    /// # Errors
    /// If apt fails.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = capture(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Returns the newest version of a package, or the one named by `name=version`; `None` if there is none.
    pub(crate) fn show(&self, package: &str) -> Option<PackageRecord> {
        let text = capture(self.command("apt-cache").args(["show", "--no-all-versions", package])).ok()?;
        record(&text)
    }

    /// Returns what would have to be installed for these packages to work here, including themselves if they are missing.
    ///
    /// # Errors
    /// If apt finds no way to install them.
    pub(crate) fn missing_for(&self, packages: &[Package]) -> Result<Vec<Package>> {
        let mut command = self.command("apt-get");
        command.args(["--simulate", "--yes", "--no-install-recommends", "install"]);
        let plan = capture(command.args(packages.iter().map(Package::exact)))?;
        Ok(plan.lines().filter_map(planned).collect())
    }

    /// Returns the files of these packages.
    ///
    /// # Errors
    /// If the archive doesn't have one of them.
    pub(crate) fn files(&self, packages: &[Package]) -> Result<Vec<Deb>> {
        let mut command = self.command("apt-get");
        command.args(["download", "--print-uris"]).args(packages.iter().map(Package::exact));
        Ok(capture(&mut command)?.lines().filter_map(deb).collect())
    }

    /// Downloads these packages into a folder, and checks them against the archive's signed sums.
    ///
    /// # Errors
    /// If the archive can't be reached, or a sum is wrong.
    pub(crate) fn download(&self, packages: &[Package], into: &Path) -> Result<()> {
        let mut command = self.command("apt-get");
        command.current_dir(into).args(["-q", "download"]).args(packages.iter().map(Package::exact));
        run(&mut command)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // Its output is parsed here, so it must not be translated.
        command.env("LC_ALL", "C").arg("-c").arg(self.folder.join("apt.conf"));
        command
    }
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    let sandbox = if is_root() { "APT::Sandbox::User \"root\";\n" } else { "" };
    format!(
        "Dir::State::lists \"{folder}/lists\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"2\";\n\
         Acquire::http::Timeout \"30\";\n\
         Acquire::https::Timeout \"30\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n\
         Acquire::IndexTargets::deb-src::Sources::DefaultEnabled \"false\";\n\
         #clear APT::Update::Pre-Invoke;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         {sandbox}"
    )
}

fn record(text: &str) -> Option<PackageRecord> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let package = Package { name: field("Package:")?.to_owned(), version: field("Version:")?.to_owned() };
    let depends = field("Depends:").unwrap_or_default().split(',');
    let depends = depends.filter_map(|one| one.split_whitespace().next()).map(str::to_owned).collect();
    Some(PackageRecord { package, depends })
}

/// Parses `Inst name [old version] (version origin [arch])`.
fn planned(line: &str) -> Option<Package> {
    let rest = line.strip_prefix("Inst ")?;
    let (name, rest) = rest.split_once(' ')?;
    let version = rest.split_once('(')?.1.split_whitespace().next()?;
    Some(Package { name: name.to_owned(), version: version.to_owned() })
}

/// Parses `'uri' file bytes sum`.
fn deb(line: &str) -> Option<Deb> {
    let mut words = line.strip_prefix('\'')?.split_once('\'')?.1.split_whitespace();
    Some(Deb { file: words.next()?.to_owned(), bytes: words.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_the_first_alternative_of_each_dependency() {
        let text = "Package: rustc-web\nVersion: 1.96.0+dfsg1-1~deb12u2\nDepends: libc6 (>= 2.34), gcc | clang, binutils\nSize: 4\n";
        let package = Package { name: "rustc-web".into(), version: "1.96.0+dfsg1-1~deb12u2".into() };
        let depends = ["libc6", "gcc", "binutils"].map(String::from).to_vec();
        assert_eq!(record(text), Some(PackageRecord { package, depends }));
        assert_eq!(record("N: Unable to locate package\n"), None);
    }

    #[test]
    fn a_simulated_installation_is_read_with_and_without_an_old_version() {
        let wanted = Some(Package { name: "libllvm22".into(), version: "1:22.1.8-1".into() });
        assert_eq!(planned("Inst libllvm22 (1:22.1.8-1 Debian-Security:12 [amd64])"), wanted);
        assert_eq!(planned("Inst libllvm22 [1:22.1.1-1] (1:22.1.8-1 Debian:12 [amd64])"), wanted);
        assert_eq!(planned("Conf libllvm22 (1:22.1.8-1 Debian:12 [amd64])"), None);
    }

    #[test]
    fn a_package_file_is_read_with_its_size() {
        let line = "'http://deb.debian.org/a/b_1%7e.deb' b_1~_amd64.deb 29378692 SHA256:729e";
        assert_eq!(deb(line), Some(Deb { file: "b_1~_amd64.deb".into(), bytes: 29_378_692 }));
        assert_eq!(deb("Reading package lists..."), None);
    }
}
