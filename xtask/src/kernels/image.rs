//! The file system with which a kernel under test starts: this machine's own programs, its modules, probe and the tests.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{cpio::Archive, guest, modules};
use crate::shell::{capture, which};

type Image = Archive<std::io::BufWriter<fs::File>>;

/// Programs that the tests, the lab and probe itself call. If one is not installed here, the tests that need it skip
/// themselves, as on any machine.
const PROGRAMS: &str = "sh awk bash cat chmod cp date dd env ethtool expr false find grep head hostname id ip ip6tables-legacy
    iptables-legacy kill ln ls mkdir mktemp mount mv nft nohup nsenter ping ps readlink rm sed seq setpriv sleep sort stat
    sysctl tail tc test touch tr true umount uname unshare wc xargs bpftool script";
/// Files that programs read or load without being linked with them.
const DATA: [&str; 9] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/hosts",
    "/etc/protocols",
    "/etc/iproute2",
    "/usr/share/iproute2",
    "/usr/lib/x86_64-linux-gnu/xtables",
    "/usr/lib/xtables",
];
/// The folders that are merged into `/usr`, whatever this machine does.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];
const EMPTY: [&str; 7] = ["/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/var/lib"];

/// The content of an image, besides the kernel's modules.
pub(crate) struct Contents<'a> {
    /// `probe` itself; it keeps its path, which the tests know.
    pub(crate) probe: &'a Path,
    /// The program with the tests.
    pub(crate) tests: &'a Path,
    /// The steps for [`guest`], one per line.
    pub(crate) plan: &'a str,
}

/// Writes the image for a kernel with these modules.
///
/// # Errors
/// If something can't be read, stripped or written.
pub(crate) fn write(file: &Path, modules: &Path, contents: &Contents<'_>) -> Result<()> {
    let made = || format!("cannot write {}", file.display());
    let mut image = Archive::create(file).with_context(made)?;
    for name in MERGED {
        image.link(name, &format!("usr/{name}")).with_context(made)?;
    }
    for folder in EMPTY {
        image.folder(folder).with_context(made)?;
    }
    for name in PROGRAMS.split_whitespace() {
        if let Some(program) = which(name) {
            put_program(&mut image, &program)?;
        }
    }
    for path in DATA {
        put_data(&mut image, Path::new(path))?;
    }
    let xtask = std::env::current_exe().context("cannot find this program itself")?;
    put_as(&mut image, &xtask, guest::INIT)?;
    put_as(&mut image, contents.probe, &contents.probe.to_string_lossy())?;
    put_as(&mut image, contents.tests, &guest::tests())?;
    let mut plan = String::new();
    for module in modules::in_order(modules)? {
        image.file(&guest::module(&module.name), 0o644, &module.content).with_context(made)?;
        plan.push_str(&format!("module {}\n", module.name));
    }
    plan.push_str(contents.plan);
    image.file(guest::PLAN, 0o644, plan.as_bytes()).with_context(made)?;
    image.finish().with_context(made)?;
    Ok(())
}

/// Adds a program under its own path, and the libraries it is linked with.
fn put_program(image: &mut Image, program: &Path) -> Result<()> {
    put_file(image, program)?;
    put_libraries(image, program)
}

fn put_libraries(image: &mut Image, program: &Path) -> Result<()> {
    // A script, or a program that is linked statically, has none.
    let Ok(text) = capture(Command::new("ldd").arg(program)) else { return Ok(()) };
    for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
        put_file(image, Path::new(library))?;
    }
    Ok(())
}

fn put_data(image: &mut Image, path: &Path) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
            put_data(image, &entry?.path())?;
        }
        return Ok(());
    }
    if !path.is_file() {
        return Ok(());
    }
    put_program(image, path)
}

/// Adds a program that was built here, at a path of its own.
fn put_as(image: &mut Image, program: &Path, name: &str) -> Result<()> {
    put_libraries(image, program)?;
    let content = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    image.file(name, 0o755, &content).context("cannot write the image")
}

fn put_file(image: &mut Image, file: &Path) -> Result<()> {
    let name = merged(&file.to_string_lossy());
    if image.has(&name) {
        return Ok(());
    }
    let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let permissions = fs::metadata(file).map_or(0o755, |data| data.permissions().mode() & 0o777);
    image.file(&name, permissions, &content).context("cannot write the image")
}

/// Returns the path of one of this machine's files in the image.
fn merged(name: &str) -> String {
    let first = name.trim_start_matches('/').split('/').next().unwrap_or_default();
    if MERGED.contains(&first) { format!("/usr{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_ends_up_below_usr() {
        assert_eq!(merged("/lib64/ld-linux-x86-64.so.2"), "/usr/lib64/ld-linux-x86-64.so.2");
        assert_eq!(merged("/usr/sbin/nft"), "/usr/sbin/nft");
        assert_eq!(merged("/etc/passwd"), "/etc/passwd");
    }
}
