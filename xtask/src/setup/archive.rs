//! Which packages of the archive make a BPF toolchain: the archive is queried, no version is fixed here.

use anyhow::{Context as _, Result, bail};

use super::apt::{Apt, Package};

/// Debian's names of a `core` that is compiled for BPF: `libstd-rust-dev-bpf`, `libstd-rust-web-dev-bpf`, …
const BPF_CORE: (&str, &str) = ("libstd-rust", "-dev-bpf");

/// Returns the packages of the newest Rust with a `core` for BPF: compiler, its own libraries, and both `core`s.
///
/// # Errors
/// If the archive has none that is new enough for this workspace.
pub(crate) fn rust(apt: &Apt) -> Result<Vec<Package>> {
    let (prefix, suffix) = BPF_CORE;
    let names = apt.names(prefix)?;
    let found = names.iter().filter(|name| name.ends_with(suffix)).filter_map(|name| apt.show(name));
    let Some(core) = found.max_by_key(|record| release(&record.package.version)).map(|record| record.package) else {
        bail!("this system's package archive has no Rust with a core for BPF ({prefix}*{suffix})");
    };
    let wanted = env!("CARGO_PKG_RUST_VERSION");
    if release(&core.version) < release(wanted) {
        bail!("the archive's {} is {}, and probe needs Rust {wanted}", core.name, core.version);
    }
    let stem = core.name.strip_suffix(suffix).unwrap_or(&core.name);
    let of = |name: String| {
        let exact = format!("{name}={}", core.version);
        apt.show(&exact).with_context(|| format!("the archive has {} but not {exact}", core.exact()))
    };
    let compiler = of(stem.replacen(prefix, "rustc", 1))?.package;
    let host_core = of(format!("{stem}-dev"))?;
    let library = host_core.depends.iter().find(|name| is_numbered(name, &format!("{stem}-")));
    let library = library.with_context(|| format!("{} names no shared library", host_core.package.exact()))?;
    let library = of(library.clone())?;
    let llvm = library.depends.iter().find(|name| is_numbered(name, "libllvm"));
    let llvm = llvm.and_then(|name| apt.show(name)).map(|record| record.package);
    Ok([compiler, library.package, host_core.package, core].into_iter().chain(llvm).collect())
}

/// Returns the LLVMs whose development files the archive has, oldest first.
///
/// # Errors
/// If apt fails.
pub(crate) fn llvms(apt: &Apt) -> Result<Vec<u32>> {
    Ok(llvm_versions(&apt.names("llvm-")?))
}

/// Returns the packages of one LLVM: what `bpf-linker` is compiled against and runs with.
///
/// # Errors
/// If the archive doesn't have them.
pub(crate) fn llvm(apt: &Apt, version: u32) -> Result<Vec<Package>> {
    let name = format!("llvm-{version}-dev");
    let headers = apt.show(&name).with_context(|| format!("the archive has no {name}"))?;
    let mut packages = Vec::new();
    for name in [format!("llvm-{version}"), format!("libllvm{version}")] {
        let exact = format!("{name}={}", headers.package.version);
        packages.push(apt.show(&exact).with_context(|| format!("the archive has no {exact}"))?.package);
    }
    packages.push(headers.package);
    Ok(packages)
}

fn llvm_versions(names: &[String]) -> Vec<u32> {
    let of = |name: &String| name.strip_prefix("llvm-")?.strip_suffix("-dev")?.parse().ok();
    let mut versions: Vec<u32> = names.iter().filter_map(of).collect();
    versions.sort_unstable();
    versions
}

fn is_numbered(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// Returns the leading numbers of a version: `1.96.0+dfsg1-1` is `[1, 96, 0]`.
fn release(version: &str) -> Vec<u32> {
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    version[..end].split('.').filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        assert!(release("1.96.0+dfsg1-1~deb12u2") > release("1.88"));
        assert!(release("1.85.0+dfsg3-1") < release("1.88"));
        assert!(release("1.100.0") > release("1.96.0"));
    }

    #[test]
    fn only_whole_development_packages_of_llvm_count() {
        let names = ["llvm-22-dev", "llvm-9-dev", "llvm-22-tools", "llvm-dev", "llvm-spirv-22-dev"].map(String::from);
        assert_eq!(llvm_versions(&names), [9, 22]);
    }

    #[test]
    fn a_shared_library_is_told_from_its_development_package() {
        assert!(is_numbered("libstd-rust-web-1.96", "libstd-rust-web-"));
        assert!(!is_numbered("libstd-rust-web-dev", "libstd-rust-web-"));
    }
}
