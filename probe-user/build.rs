//! Compiles the kernel half and lays it where `kernel/object.rs` embeds it; without a BPF toolchain, an empty stub.

#[path = "../xtask/src/toolchain.rs"]
#[allow(dead_code, reason = "xtask uses more of this file than the build script does")]
mod toolchain;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

use toolchain::{Source, Toolchain};

/// Set to 1, it builds the stub even where a toolchain is at hand: quicker for an editor.
const SKIP_VARIABLE: &str = "PROBE_BPF_SKIP";

fn main() {
    let repo = repo();
    println!("cargo::rustc-check-cfg=cfg(probe_stub)");
    for variable in [SKIP_VARIABLE, toolchain::OBJECT_VARIABLE, toolchain::RUSTC_VARIABLE] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let object = out_dir().join("probe.bpf.o");
    if let Err(why) = provide(&repo, &object) {
        eprintln!("{why}");
        exit(1);
    }
}

fn provide(repo: &Path, object: &Path) -> Result<(), String> {
    if env::var_os(SKIP_VARIABLE).is_some_and(|value| value == "1") {
        return stub(object, "PROBE_BPF_SKIP=1 is set");
    }
    match toolchain::find(repo)? {
        Source::Object(prebuilt) => {
            watch(&prebuilt);
            copy(&prebuilt, object)
        }
        Source::Toolchain(toolchain) => {
            let fresh = compile(repo, &toolchain)?;
            strip(&toolchain, &fresh, object)
        }
        Source::Nothing(_) => stub(object, "no BPF toolchain was found; one command fetches it: cargo xtask setup"),
    }
}

fn stub(object: &Path, why: &str) -> Result<(), String> {
    // Nothing is watched here: a toolchain may come from many places, so `cargo xtask setup` touches this file instead.
    watch(Path::new("build.rs"));
    println!("cargo::warning=probe is built without its kernel half: {why}");
    println!("cargo::rustc-cfg=probe_stub");
    fs::write(object, []).map_err(|error| format!("cannot write {}: {error}", object.display()))
}

fn compile(repo: &Path, toolchain: &Toolchain) -> Result<PathBuf, String> {
    watch_sources(repo, toolchain);
    let target = target_dir();
    let triple = if variable("CARGO_CFG_TARGET_ENDIAN") == "big" { "bpfeb-unknown-none" } else { "bpfel-unknown-none" };
    let cargo = toolchain.cargo.clone().unwrap_or_else(|| PathBuf::from(variable("CARGO")));
    let mut child = Command::new(cargo);
    child.current_dir(repo).args(["build", "--quiet", "--release", "--target", triple]);
    child.args(["--package", "probe-ebpf", "--bin", "probe-bpf", "--features", "kernel", "--target-dir"]).arg(&target);
    if toolchain.build_std {
        child.arg("-Zbuild-std=core");
    }
    // aya-ebpf needs unstable features; empty wrappers switch off clippy's and any cache that is set in a configuration.
    child.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", &toolchain.rustc);
    child.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
    // A build folder shared with the cargo that runs this script would make the two wait for each other for ever.
    child.env("CARGO_BUILD_BUILD_DIR", &target).env("CARGO_ENCODED_RUSTFLAGS", flags(repo, toolchain));
    if !toolchain.libraries.is_empty() {
        child.env("LD_LIBRARY_PATH", toolchain::library_path(&toolchain.libraries));
    }
    let status = child.status().map_err(|error| format!("cannot start cargo for the kernel half: {error}"))?;
    if !status.success() {
        return Err(format!("the kernel half does not compile, see above; its compiler: {toolchain}"));
    }
    Ok(target.join(triple).join("release/probe-bpf"))
}

fn flags(repo: &Path, toolchain: &Toolchain) -> String {
    let arch = variable("CARGO_CFG_TARGET_ARCH");
    // The names that aya-ebpf's bindings go by.
    let arch = if arch.starts_with("riscv64") { "riscv64" } else { &arch };
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let mut flags = vec![
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("-Clinker={}", toolchain.linker.display()),
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // The object must not depend on where it was built.
        format!("--remap-path-prefix={}=.", repo.display()),
    ];
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
    flags.join("\x1f")
}

/// The kernel reads the BTF; the debug sections, three quarters of the file, are for nobody.
fn strip(toolchain: &Toolchain, fresh: &Path, object: &Path) -> Result<(), String> {
    let stripped = toolchain.objcopy.as_ref().is_some_and(|objcopy| {
        let mut command = Command::new(objcopy);
        command.arg("--strip-debug").arg(fresh).arg(object);
        if !toolchain.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", toolchain::library_path(&toolchain.libraries));
        }
        command.output().is_ok_and(|answer| answer.status.success())
    });
    if stripped { Ok(()) } else { copy(fresh, object) }
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    fs::copy(from, to).map(drop).map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))
}

fn watch_sources(repo: &Path, toolchain: &Toolchain) {
    for source in ["probe-ebpf/src", "probe-ebpf/Cargo.toml", "Cargo.toml", "Cargo.lock"] {
        watch(&repo.join(source));
    }
    watch(&toolchain.rustc);
    watch(&toolchain.linker);
    // Cargo takes a watched file that is missing for a change, at every build.
    let stamp = repo.join(toolchain::TOOLS).join(toolchain::STAMP);
    if stamp.is_file() {
        watch(&stamp);
    }
}

fn watch(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}

/// `<target>/bpf`, one for debug and release, so that the kernel half is not compiled twice.
fn target_dir() -> PathBuf {
    let out = out_dir();
    let build = out.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "build"));
    let target = build.and_then(|build| build.parent()?.parent()).unwrap_or(&out);
    target.join("bpf")
}

fn repo() -> PathBuf {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

fn out_dir() -> PathBuf {
    PathBuf::from(variable("OUT_DIR"))
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        eprintln!("{name} is not set: this is a build script, cargo runs it");
        exit(1);
    })
}
