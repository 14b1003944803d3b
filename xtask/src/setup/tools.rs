//! Fills the folder `.tools` with a BPF toolchain: every step is kept, so an interrupted setup can be resumed.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};
use nix::fcntl::{Flock, FlockArg};

use super::{
    apt::{Apt, Package},
    archive, debs,
    linker::{self, LinkerRelease},
};
use crate::{
    shell::{capture, repo, say},
    toolchain::{self, STAMP, TOOLS},
};

/// The file in the unpacked tree that lists its content; it exists only when the tree is complete.
const CONTENTS: &str = "contents";

/// The unneeded parts of the packages: documentation, and LLVM's static libraries.
const LEFT_OUT: [&str; 3] = ["./usr/share", "./usr/lib/llvm-*/lib/*.a", "./usr/lib/debug"];

/// The content of the unpacked tree.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    packages: Vec<Package>,
    linker: LinkerRelease,
}

/// Fetches and builds a BPF toolchain into `.tools`.
///
/// # Errors
/// If this system or its archive is unsuitable; the error says what to install instead.
pub(crate) fn fill() -> Result<()> {
    if !Apt::is_here() {
        return Err(by_hand(&anyhow!("this system has no apt, so setup can fetch no BPF toolchain for it")));
    }
    let tools = repo().join(TOOLS);
    fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    let _lock = lock(&tools)?;
    if tools.join(STAMP).is_file() {
        // Another setup was faster, or the toolchain exists and doesn't work: then it is rebuilt below.
        if matches!(super::source()?, toolchain::Source::Toolchain(_)) {
            return Ok(());
        }
        fs::remove_file(tools.join(STAMP)).context("cannot remove the old stamp")?;
    }
    say(
        "fetching a Rust compiler with a core for BPF, and LLVM, into .tools: the kernel half needs them; without root, and nothing is installed",
    );
    let apt = Apt::update(tools.join("apt"))?;
    let rust = archive::rust(&apt).map_err(|error| not_found(&apt, error))?;
    let root = tools.join("root");
    let contents = match contents(&root).filter(|old| rust.iter().all(|package| old.packages.contains(package))) {
        Some(unpacked) => unpacked,
        None => unpack_all(&apt, &tools, rust)?,
    };
    let choice = &contents.linker;
    say(&format!(
        "building bpf-linker {} with LLVM {} into .tools: it makes the BPF object",
        choice.version, choice.llvm
    ));
    linker::install(choice, &root, &tools)?;
    try_out(&root, &tools)
        .context("the new toolchain cannot make a BPF object; delete the folder .tools and set up again")?;
    for leftover in ["apt", "debs", "build"] {
        remove(&tools.join(leftover))?;
    }
    fs::write(tools.join(STAMP), text(&contents)).context("cannot write the stamp")
}

/// Locks the folder: two setups at once would unpack into each other's files.
fn lock(tools: &Path) -> Result<Flock<File>> {
    let open =
        || File::create(tools.join("lock")).context("cannot make .tools/lock (was .tools made by another user?)");
    match Flock::lock(open()?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err(_) => {
            say("another setup is running; waiting for it");
            Flock::lock(open()?, FlockArg::LockExclusive).map_err(|(_, error)| anyhow!("cannot lock .tools: {error}"))
        }
    }
}

fn unpack_all(apt: &Apt, tools: &Path, rust: Vec<Package>) -> Result<Contents> {
    let partial = tools.join("root.partial");
    remove(&partial)?;
    fs::create_dir_all(partial.join("usr/lib")).context("cannot make .tools/root.partial")?;
    // Some packages still ship files in /lib.
    symlink("usr/lib", partial.join("lib")).context("cannot make a link in .tools")?;
    let mut packages = with_libraries(apt, rust)?;
    let folder = tools.join("debs");
    debs::unpack(&debs::fetch(apt, &packages, &folder)?, &partial, &LEFT_OUT)?;
    let compiler = compilers_llvm(&partial)?;
    let linker = linker::choose(compiler, &archive::llvms(apt)?).map_err(|error| by_hand(&error))?;
    let mut more = with_libraries(apt, archive::llvm(apt, linker.llvm)?)?;
    more.retain(|package| !packages.contains(package));
    debs::unpack(&debs::fetch(apt, &more, &folder)?, &partial, &LEFT_OUT)?;
    packages.append(&mut more);
    let contents = Contents { packages, linker };
    fs::write(partial.join(CONTENTS), text(&contents)).context("cannot write .tools/root.partial")?;
    let root = tools.join("root");
    remove(&root)?;
    fs::rename(&partial, &root).context("cannot rename .tools/root.partial")?;
    Ok(contents)
}

/// Adds the shared libraries that these packages need and that this system doesn't have.
fn with_libraries(apt: &Apt, mut packages: Vec<Package>) -> Result<Vec<Package>> {
    // Only for the libraries: the compiler would pull in gcc, and LLVM's headers half of Debian.
    let libraries: Vec<Package> = packages.iter().filter(|package| is_library(&package.name)).cloned().collect();
    for package in apt.missing_for(&libraries)? {
        if !packages.contains(&package) {
            packages.push(package);
        }
    }
    Ok(packages)
}

fn is_library(name: &str) -> bool {
    name.starts_with("lib") && !name.contains("-dev")
}

fn compilers_llvm(root: &Path) -> Result<u32> {
    let about = capture(in_tree(root, &root.join("usr/bin/rustc")).arg("-vV"))?;
    let version = about.lines().find_map(|line| line.strip_prefix("LLVM version:"));
    let major = version.and_then(|version| version.trim().split('.').next()?.parse().ok());
    major.context("the fetched rustc does not say which LLVM it has")
}

/// Compiles one function: a toolchain counts as set up only when it has built an object.
fn try_out(root: &Path, tools: &Path) -> Result<()> {
    let source = tools.join("try.rs");
    fs::write(
        &source,
        "#![no_std]\n#![no_main]\n#[unsafe(no_mangle)]\n#[unsafe(link_section = \"xdp\")]\n\
         extern \"C\" fn pass(_: *mut u8) -> u32 { 2 }\n#[panic_handler]\nfn panic(_: &core::panic::PanicInfo) -> ! { loop {} }\n",
    )?;
    let object = tools.join("try.o");
    let mut rustc = in_tree(root, &root.join("usr/bin/rustc"));
    rustc.args(["--edition", "2024", "--target", "bpfel-unknown-none", "-Cpanic=abort", "-Copt-level=3"]);
    rustc.arg(format!("-Clinker={}", tools.join("bin/bpf-linker").display())).arg("-o").arg(&object).arg(&source);
    capture(&mut rustc)?;
    fs::remove_file(object)?;
    fs::remove_file(source)?;
    Ok(())
}

fn in_tree(root: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", toolchain::library_path(&toolchain::libraries(root)));
    command
}

fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

fn contents(root: &Path) -> Option<Contents> {
    parse(&fs::read_to_string(root.join(CONTENTS)).ok()?)
}

fn text(contents: &Contents) -> String {
    let packages = contents.packages.iter().map(Package::exact);
    packages.chain([contents.linker.line()]).map(|line| line + "\n").collect()
}

fn parse(text: &str) -> Option<Contents> {
    let packages = text.lines().filter_map(Package::parse).collect();
    Some(Contents { packages, linker: text.lines().find_map(LinkerRelease::parse)? })
}

fn not_found(apt: &Apt, error: anyhow::Error) -> anyhow::Error {
    if apt.is_complete {
        return by_hand(&error);
    }
    error.context("apt could not reach every source of packages, see above — try again later, or fix the source")
}

fn by_hand(why: &anyhow::Error) -> anyhow::Error {
    anyhow!(
        "{why:#}\n\
         install by hand, then run this again:\n  \
         1. rustup (https://rustup.rs), and: rustup toolchain install nightly --component rust-src\n  \
         2. the development files of the LLVM that `rustc +nightly -vV` names, N, or of a newer one\n     \
         (llvm-N-dev on Debian and Ubuntu, llvm-devel on Fedora and openSUSE, llvm on Arch)\n  \
         3. cargo install bpf-linker --no-default-features --features llvm-N\n\
         or name a kernel half that was built elsewhere: PROBE_BPF_OBJECT=FILE"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tree_is_made_of_survives_its_file() {
        let package = Package { name: "libllvm22".to_owned(), version: "1:22.1.8-1~deb12u1".to_owned() };
        let linker = LinkerRelease { version: "0.13.0".to_owned(), llvm: 22 };
        let contents = Contents { packages: vec![package], linker };
        assert_eq!(parse(&text(&contents)), Some(contents));
        assert_eq!(parse("libllvm22=1:22.1.8-1~deb12u1\n"), None, "an unfinished file");
    }

    #[test]
    fn only_shared_libraries_are_asked_for_what_they_need() {
        assert!(is_library("libllvm22") && is_library("libstd-rust-web-1.96"));
        assert!(!is_library("libstd-rust-web-dev-bpf") && !is_library("rustc-web") && !is_library("llvm-22-dev"));
    }
}
