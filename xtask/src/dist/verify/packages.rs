//! Packages in a folder of their own: installed, upgraded, removed, and nothing is left.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::shell::{capture, is_root, say, which};

/// Tries the package for dpkg.
///
/// # Errors
/// dpkg refuses it, a file is missing, or one is left.
pub(crate) fn deb(package: &Path, scratch: &Path) -> Result<()> {
    let root = scratch.join("deb");
    let state = root.join("var/lib/dpkg");
    let Some(mut dpkg) = tool("dpkg", package) else { return Ok(()) };
    for folder in ["updates", "info", "triggers"] {
        fs::create_dir_all(state.join(folder))?;
    }
    fs::write(state.join("status"), "")?;
    let architecture = capture(Command::new("dpkg-deb").arg("--field").arg(package).arg("Architecture"))?;
    // A root without a shell: no package of ours has a script that would need one.
    dpkg.arg(format!("--root={}", root.display())).arg("--force-not-root").arg("--force-bad-path");
    dpkg.arg(format!("--log={}", scratch.join("dpkg.log").display())).arg("--force-architecture");
    let with = |verb: &str, what: &Path| {
        let mut command = copy(&dpkg);
        command.arg(verb).arg(what);
        command
    };
    let name = PathBuf::from(format!("probe:{}", architecture.trim()));
    cycle("deb", &root, &["var"], [with("--install", package), with("--install", package), with("--purge", &name)])
}

/// Tries the package for rpm.
///
/// # Errors
/// rpm refuses it, a file is missing, or one is left.
pub(crate) fn rpm(package: &Path, scratch: &Path) -> Result<()> {
    let root = scratch.join("rpm");
    let Some(mut rpm) = tool("rpm", package) else { return Ok(()) };
    fs::create_dir_all(&root)?;
    capture(Command::new("rpm").args(["--checksig", "--nosignature"]).arg(package))?;
    rpm.arg(format!("--root={}", root.display())).args(["--dbpath", "/var/lib/rpm", "--ignorearch"]);
    let with = |arguments: &[&str], what: &Path| {
        let mut command = copy(&rpm);
        command.args(arguments).arg(what);
        command
    };
    let steps = [
        with(&["--install", "--nosignature"], package),
        with(&["--upgrade", "--force", "--nosignature"], package),
        // No option of installing is taken here.
        {
            let mut command = Command::new("rpm");
            command.arg(format!("--root={}", root.display())).args(["--dbpath", "/var/lib/rpm", "--erase", "probe"]);
            command
        },
    ];
    cycle("rpm", &root, &["var"], steps)
}

/// Returns a tool of this machine, or says that the package is not tried.
fn tool(name: &str, package: &Path) -> Option<Command> {
    let why = if which(name).is_none() {
        format!("{name} is not installed")
    } else if is_root() {
        return Some(Command::new(name));
    } else {
        "only root can".to_owned()
    };
    say(&format!("NOT TRIED: {} — {why}", package.display()));
    None
}

fn copy(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy
}

/// What every installation must have.
const INSTALLED: [&str; 5] = [
    "usr/bin/probe",
    "usr/share/man/man1/probe.1.gz",
    "usr/share/man/man1/probe-filter-add.1.gz",
    "usr/share/bash-completion/completions/probe",
    "usr/share/fish/vendor_completions.d/probe.fish",
];

/// Installs, installs once more over it, and removes; `own` is what the package manager keeps for itself.
fn cycle(name: &str, root: &Path, own: &[&str], steps: [Command; 3]) -> Result<()> {
    let before = files(root, own)?;
    let [mut install, mut upgrade, mut remove] = steps;
    for step in [&mut install, &mut upgrade] {
        capture(step)?;
        if let Some(missing) = INSTALLED.iter().find(|file| !root.join(file).is_file()) {
            bail!("the {name} does not install {missing}");
        }
    }
    let installed = files(root, own)?.len() - before.len();
    capture(&mut remove)?;
    let left: Vec<PathBuf> = files(root, own)?.difference(&before).cloned().collect();
    if !left.is_empty() {
        bail!("the {name} leaves {left:?}");
    }
    say(&format!("the {name} was installed ({installed} files), upgraded and removed; nothing is left"));
    Ok(())
}

/// Returns all files below `root` but those in its folders `own`.
fn files(root: &Path, own: &[&str]) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if own.iter().any(|own| path == root.join(own)) {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                found.insert(path);
            }
        }
    }
    Ok(found)
}
