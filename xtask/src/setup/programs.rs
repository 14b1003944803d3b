//! The programs that the lab and the tests call, and their system packages.

use anyhow::{Context as _, Result, bail};

use crate::shell::{Root, run, say, which};

/// What will be run on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NeededBy {
    /// The lab.
    Lab,
    /// All tests, including those of the lab.
    Tests,
}

/// What happens without a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    /// The lab does not run.
    NoLab,
    /// Tests fail.
    TestsFail,
    /// Tests skip themselves; not every system has a package for it.
    TestsSkip,
}

/// A program, and why it is needed.
#[derive(Debug)]
struct Program {
    name: &'static str,
    /// Its package on Debian and Ubuntu; most other distributions call it the same.
    package: &'static str,
    why: &'static str,
    without: Without,
}

const PROGRAMS: [Program; 6] = [
    Program {
        name: "nft",
        package: "nftables",
        why: "the lab's firewall is a set of nftables rules",
        without: Without::NoLab,
    },
    Program {
        name: "ip",
        package: "iproute2",
        why: "the tests build and break networks with it",
        without: Without::TestsFail,
    },
    Program {
        name: "tc",
        package: "iproute2",
        why: "the tests attach other people's filters with it",
        without: Without::TestsFail,
    },
    Program {
        name: "sysctl",
        package: "procps",
        why: "the tests change settings of their own namespaces with it",
        without: Without::TestsFail,
    },
    Program {
        name: "ping",
        package: "iputils-ping",
        why: "the tests check probe against it",
        without: Without::TestsFail,
    },
    Program {
        name: "bpftool",
        package: "bpftool",
        why: "the tests pin other people's programs with it",
        without: Without::TestsSkip,
    },
];

/// Installs the packages of the missing programs, and nothing else; no package is removed.
///
/// # Errors
/// If one is missing and can't be installed from here; the error says what to install.
pub(crate) fn install_missing(purpose: NeededBy) -> Result<()> {
    let missing = missing(purpose, |program| which(program).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    for program in &missing {
        say(&format!("installing {} for {}: {}", program.package, program.name, program.why));
    }
    let (optional, needed): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|program| program.without == Without::TestsSkip);
    let installed = install(&packages(&needed));
    // Not every system has these; without them tests skip themselves.
    if installed.is_ok() && install(&packages(&optional)).is_err() {
        say(&format!("going on without {}: some tests skip themselves", packages(&optional).join(" ")));
    }
    match needed.iter().find(|program| which(program.name).is_none()) {
        Some(program) => installed.and_then(|()| bail!("{} is installed, but not {}", program.package, program.name)),
        None => Ok(()),
    }
}

fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let wanted = packages.join(" ");
    if which("apt-get").is_none() {
        bail!("this system has no apt — install with its own package manager, then run this again: {wanted}");
    }
    let root = Root::obtain(&format!("to install {wanted}"));
    let apt = || root.command("env").with_context(|| format!("only root can do it — run: apt-get install {wanted}"));
    // Without fresh lists apt may know no package at all, or only versions that are gone.
    let _ = run(apt()?.args(["apt-get", "-q", "update"]));
    let mut install = apt()?;
    install.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "install", "--yes", "--no-remove"]);
    run(install.arg("--no-install-recommends").args(packages))
}

fn missing(purpose: NeededBy, is_here: impl Fn(&str) -> bool) -> Vec<&'static Program> {
    let wanted = |program: &&Program| purpose == NeededBy::Tests || program.without == Without::NoLab;
    PROGRAMS.iter().filter(wanted).filter(|program| !is_here(program.name)).collect()
}

fn packages(programs: &[&Program]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = programs.iter().map(|program| program.package).collect();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_for_the_purpose_is_installed_and_each_package_once() {
        let on_an_empty_machine = |purpose| packages(&missing(purpose, |_| false));
        assert_eq!(on_an_empty_machine(NeededBy::Lab), ["nftables"]);
        let all = ["nftables", "iproute2", "procps", "iputils-ping", "bpftool"];
        assert_eq!(on_an_empty_machine(NeededBy::Tests), all);
        assert_eq!(packages(&missing(NeededBy::Tests, |name| name != "tc")), ["iproute2"]);
        assert_eq!(packages(&missing(NeededBy::Lab, |name| name == "nft")), [""; 0]);
    }
}
