//! The programs that the lab and the tests call, and the system packages they come from.

use anyhow::{Context as _, Result, bail};

use crate::shell::{Root, run, say, which};

/// A program, and why it is needed.
struct Program {
    name: &'static str,
    /// Its package on Debian and Ubuntu; most other distributions call it the same.
    package: &'static str,
    why: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program { name: "nft", package: "nftables", why: "the lab's firewall is a set of nftables rules" },
    Program { name: "ip", package: "iproute2", why: "the tests build and break networks with it" },
];

/// Installs the packages of the programs that aren't here, and nothing else; no package is removed.
///
/// # Errors
/// One is missing and can't be installed from here; the error says what to install.
pub(crate) fn install_missing() -> Result<()> {
    let missing: Vec<&Program> = PROGRAMS.iter().filter(|program| which(program.name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for program in &missing {
        say(&format!("installing {} for {}: {}", program.package, program.name, program.why));
    }
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
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
    run(install.arg("--no-install-recommends").args(&packages))?;
    match missing.iter().find(|program| which(program.name).is_none()) {
        Some(program) => bail!("{} was installed, and there still is no {}", program.package, program.name),
        None => Ok(()),
    }
}
