//! The static program: how it is compiled, and what must hold of it.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{elf, revision::Revision, target::ReleaseTarget};
use crate::{
    compile::compile_with,
    setup,
    shell::{capture, cargo, repo, say},
};

/// A program that outgrows this has taken in something that it need not hold. (It has 13 MB: 8.9 MB of code at `opt-level = "s"`, 1.5 MB
/// of kernel programs, 1.3 MB for unwinding.)
const MOST_BYTES: usize = 14_000_000;

/// Compiles, checks, and returns the program.
///
/// # Errors
/// There is no BPF toolchain, something does not compile, or the result is not what a release may hold.
pub(crate) fn build(target: &ReleaseTarget, linker: &Option<PathBuf>, revision: &Revision) -> Result<Vec<u8>> {
    setup::ensure_toolchain()?;
    say(&format!("kernel half: {}", setup::toolchain_in_words()?));
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.extend(machine_paths()?.iter().map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display())));
    let folder = repo().join("target/dist-build");
    let mut variables = vec![
        ("CARGO_ENCODED_RUSTFLAGS".to_owned(), flags.join("\x1f").into()),
        ("CARGO_TARGET_DIR".to_owned(), folder.into_os_string()),
        ("SOURCE_DATE_EPOCH".to_owned(), revision.epoch.to_string().into()),
        ("PROBE_VERSION".to_owned(), format!("{} ({})", env!("CARGO_PKG_VERSION"), revision.in_words()).into()),
    ];
    if let Some(linker) = linker {
        let name = target.triple.to_uppercase().replace('-', "_");
        variables.push((format!("CARGO_TARGET_{name}_LINKER"), linker.into()));
    }
    let arguments = ["build", "--locked", "--package", "probe-user", "--bin", "probe", "--profile", "dist"];
    let made = compile_with(&[&arguments[..], &["--target", &target.triple]].concat(), &variables)?;
    let file = made.executables.into_iter().find(|(name, _)| name == "probe").map(|(_, file)| file);
    let file = file.context("cargo built no program called probe")?;
    let program = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    check(&program, target).with_context(|| format!("{} cannot be shipped", file.display()))?;
    Ok(program)
}

fn check(program: &[u8], target: &ReleaseTarget) -> Result<()> {
    elf::check(program, target.elf_machine)?;
    if program.len() >= MOST_BYTES {
        bail!("it has {} bytes, and may have fewer than {MOST_BYTES}", program.len());
    }
    for (path, _) in machine_paths()? {
        let path = format!("{}/", path.display());
        if holds(program, path.as_bytes()) {
            bail!("it holds {path}, a path of this machine");
        }
    }
    Ok(())
}

fn holds(program: &[u8], words: &[u8]) -> bool {
    program.windows(words.len()).any(|window| window == words)
}

/// Returns the folders that must not show in a program, and what stands there in their place. The last that fits counts.
fn machine_paths() -> Result<Vec<(PathBuf, &'static str)>> {
    let home = env::var_os("HOME").map(PathBuf::from).filter(|home| home.components().count() > 1);
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(home.clone()?.join(".cargo")));
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = capture(std::process::Command::new(rustc).current_dir(repo()).args(["--print", "sysroot"]))?;
    let mut paths: Vec<(PathBuf, &str)> = home.map(|home| (home, "home")).into_iter().collect();
    paths.extend(cargo_home.map(|folder| (folder, "cargo")));
    let sysroot = PathBuf::from(sysroot.trim());
    // Debian's compiler is in /usr: that is no path of one machine.
    if sysroot.components().count() > 2 {
        paths.push((sysroot, "rust"));
    }
    paths.push((repo().to_owned(), "probe"));
    Ok(paths)
}

/// Lets a file be executed.
///
/// # Errors
/// Its mode cannot be set.
pub(crate) fn executable(file: &Path) -> Result<()> {
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(file, mode).with_context(|| format!("cannot make {} executable", file.display()))
}

/// Returns a program with the same definitions that runs on this machine: for another processor, one that is built here for
/// that.
///
/// # Errors
/// It does not compile.
pub(crate) fn that_runs_here(target: &ReleaseTarget, folder: &Path, program: &[u8]) -> Result<PathBuf> {
    let file = folder.join("probe");
    if target.runs_here() {
        fs::write(&file, program).with_context(|| format!("cannot write {}", file.display()))?;
        executable(&file)?;
        return Ok(file);
    }
    let mut command = cargo();
    command.args(["build", "--quiet", "--locked", "--package", "probe-user", "--bin", "probe"]);
    crate::shell::run(command.env("PROBE_BPF_SKIP", "1").env("CARGO_TARGET_DIR", folder.join("host")))?;
    Ok(folder.join("host/debug/probe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_wherever_it_stands() {
        assert!(holds(b"..\0/home/me/probe/src/main.rs", b"/home/me/probe"));
        assert!(!holds(b"probe/src/main.rs", b"/home/me/probe"));
    }
}
