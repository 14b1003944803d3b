//! Finds a toolchain that can compile the kernel half; the build script of `probe-user` includes this file, so it needs std
//! only.

use std::{
    env, fmt, fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Names a kernel object that was built elsewhere: then nothing is compiled.
pub(crate) const OBJECT_VARIABLE: &str = "PROBE_BPF_OBJECT";
/// Names the rustc that must compile the kernel half, whatever else is installed.
pub(crate) const RUSTC_VARIABLE: &str = "PROBE_BPF_RUSTC";
/// The folder of the repository that `cargo xtask setup` fills.
pub(crate) const TOOLS: &str = ".tools";
/// The last file that setup writes to [`TOOLS`]: without it the folder is incomplete.
pub(crate) const STAMP: &str = "stamp";

const LINKER: &str = "bpf-linker";
const BPF_CORE: &str = "lib/rustlib/bpfel-unknown-none/lib";
const RUST_SRC: &str = "lib/rustlib/src/rust/library/Cargo.lock";

/// Where the kernel half comes from.
pub(crate) enum Source {
    /// A prebuilt object, named by [`OBJECT_VARIABLE`].
    Object(PathBuf),
    /// Compiled here.
    Toolchain(Toolchain),
    /// Nothing fits; one line for everything that was tried, with the reason.
    Nothing(Vec<String>),
}

/// A rustc and a linker that fit each other and can make BPF objects.
pub(crate) struct Toolchain {
    /// Where it was found, in words.
    pub(crate) origin: &'static str,
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// The compiler's version, in short.
    pub(crate) version: String,
    /// `bpf-linker`.
    pub(crate) linker: PathBuf,
    /// The cargo that belongs to the compiler, if it is beside it.
    pub(crate) cargo: Option<PathBuf>,
    /// An `llvm-objcopy`, to drop the debug sections.
    pub(crate) objcopy: Option<PathBuf>,
    /// The folders that `LD_LIBRARY_PATH` must hold for the compiler and the linker to run.
    pub(crate) libraries: Vec<PathBuf>,
    /// Whether `core` must be compiled from rust-src, because there is none prebuilt for BPF.
    pub(crate) build_std: bool,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = if self.build_std { "core from rust-src" } else { "prebuilt core" };
        write!(f, "{} ({}), {} at {}", self.version, self.origin, core, self.rustc.display())?;
        write!(f, "; linker {}", self.linker.display())
    }
}

/// A rustc to try, and what it needs to run.
struct Candidate {
    origin: &'static str,
    rustc: PathBuf,
    libraries: Vec<PathBuf>,
    /// The linkers to try with it, best first.
    linkers: Vec<PathBuf>,
}

/// The facts about a rustc that runs and can make BPF code.
struct Compiler {
    version: String,
    llvm: u32,
    sysroot: PathBuf,
    build_std: bool,
}

/// Looks for a source of the kernel half: the two variables, setup's folder, rustup, then the system's rustc.
///
/// # Errors
/// If a variable is set but doesn't fit: silently using something else would hide that.
pub(crate) fn find(repo: &Path) -> Result<Source, String> {
    if let Some(object) = env::var_os(OBJECT_VARIABLE).filter(|value| !value.is_empty()) {
        let object = PathBuf::from(object);
        return is_bpf_object(&object).map(|()| Source::Object(object));
    }
    let in_path = programs(LINKER);
    if let Some(rustc) = env::var_os(RUSTC_VARIABLE).filter(|value| !value.is_empty()) {
        let linkers = in_path.into_iter().chain([repo.join(TOOLS).join("bin").join(LINKER)]).collect();
        let candidate =
            Candidate { origin: RUSTC_VARIABLE, rustc: PathBuf::from(rustc), libraries: Vec::new(), linkers };
        return judge(candidate).map(Source::Toolchain).map_err(|why| format!("{RUSTC_VARIABLE}: {why}"));
    }
    let mut tried = Vec::new();
    for candidate in candidates(repo, &in_path, &mut tried) {
        let origin = candidate.origin;
        match judge(candidate) {
            Ok(toolchain) => return Ok(Source::Toolchain(toolchain)),
            Err(why) => tried.push(format!("{origin}: {why}")),
        }
    }
    Ok(Source::Nothing(tried))
}

/// Returns the library folders that setup unpacked into a folder, complete or not.
pub(crate) fn libraries(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("usr/lib")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("-linux-gnu")).collect();
    found.sort();
    found
}

/// Returns the files called `name` in `PATH`, in its order.
pub(crate) fn programs(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(name)).filter(|file| file.is_file()).collect()
}

fn candidates(repo: &Path, in_path: &[PathBuf], tried: &mut Vec<String>) -> Vec<Candidate> {
    let tools = repo.join(TOOLS);
    let own = tools.join("bin").join(LINKER);
    let mut found = Vec::new();
    if tools.join(STAMP).is_file() {
        let root = tools.join("root");
        let rustc = root.join("usr/bin/rustc");
        found.push(Candidate { origin: "from .tools", rustc, libraries: libraries(&root), linkers: vec![own.clone()] });
    } else {
        tried.push(".tools: cargo xtask setup has not filled it".to_owned());
    }
    let linkers: Vec<PathBuf> = in_path.iter().cloned().chain(own.is_file().then_some(own)).collect();
    let mut add = |origin, rustc| {
        found.push(Candidate { origin, rustc, libraries: Vec::new(), linkers: linkers.clone() });
    };
    match rustup(&["which", "--toolchain", "nightly", "rustc"]) {
        Ok(rustc) => add("rustup's nightly", rustc),
        Err(why) => tried.push(format!("rustup's nightly: {why}")),
    }
    if let Ok(rustc) = rustup(&["which", "rustc"]) {
        add("rustup's active toolchain", rustc);
    }
    let system = PathBuf::from("/usr/bin/rustc");
    if system.is_file() {
        add("the system's rustc", system);
    }
    found
}

fn rustup(arguments: &[&str]) -> Result<PathBuf, String> {
    // Asking must not install a toolchain.
    let answer = Command::new("rustup").args(arguments).env("RUSTUP_AUTO_INSTALL", "0").output();
    let answer = answer.map_err(|_| "rustup is not installed".to_owned())?;
    if !answer.status.success() {
        return Err("rustup does not have it".to_owned());
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim()))
}

fn judge(candidate: Candidate) -> Result<Toolchain, String> {
    let compiler = compiler(&candidate.rustc, &candidate.libraries)?;
    let Candidate { origin, rustc, libraries, linkers } = candidate;
    let mut misfits = Vec::new();
    let linker = linkers.into_iter().find(|linker| match fits(linker, &libraries, compiler.llvm) {
        Ok(()) => true,
        Err(why) => {
            misfits.push(why);
            false
        }
    });
    let Some(linker) = linker else {
        let what = if misfits.is_empty() { "there is no bpf-linker in PATH".to_owned() } else { misfits.join(", ") };
        return Err(format!("{}: {what}", compiler.version));
    };
    let cargo = compiler.build_std.then(|| rustc.with_file_name("cargo")).filter(|file| file.is_file());
    let objcopy = objcopy(&compiler.sysroot);
    let Compiler { version, build_std, .. } = compiler;
    Ok(Toolchain { origin, rustc, version, linker, cargo, objcopy, libraries, build_std })
}

fn compiler(rustc: &Path, libraries: &[PathBuf]) -> Result<Compiler, String> {
    let about = say(rustc, &["-vV"], libraries)?;
    let sysroot = PathBuf::from(say(rustc, &["--print", "sysroot"], libraries)?.trim());
    let field = |name: &str| about.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let release = field("release:").unwrap_or("of an unknown release");
    let full = field("LLVM version:").unwrap_or_default();
    let llvm = major(full).ok_or_else(|| format!("{} does not say which LLVM it has", rustc.display()))?;
    let build_std = !sysroot.join(BPF_CORE).is_dir();
    if build_std && !sysroot.join(RUST_SRC).is_file() {
        return Err(format!("rustc {release} has neither a core for BPF nor rust-src"));
    }
    Ok(Compiler { version: format!("rustc {release}, LLVM {full}"), llvm, sysroot, build_std })
}

/// Checks the linker's LLVM. Bitcode is read by the LLVM that wrote it and by later ones, so the linker's must not be older
/// than the compiler's.
fn fits(linker: &Path, libraries: &[PathBuf], wanted: u32) -> Result<(), String> {
    let version = say(linker, &["--version"], libraries)?;
    let mut head = Vec::new();
    let file = fs::File::open(linker).map_err(|error| format!("{}: {error}", linker.display()))?;
    // The names of the shared libraries are near the start of the file.
    let _ = file.take(1 << 20).read_to_end(&mut head);
    match linker_llvm(&version, &head) {
        Some(llvm) if llvm < wanted => {
            Err(format!("{} has LLVM {llvm}, older than the compiler's {wanted}", linker.display()))
        }
        _ => Ok(()),
    }
}

/// Returns the major version of the LLVM in a linker, if it can be determined: from `--version`, else from the library it
/// needs.
fn linker_llvm(version: &str, head: &[u8]) -> Option<u32> {
    if let Some((_, after)) = version.split_once("LLVM ") {
        return major(after);
    }
    let name = b"libLLVM";
    let at = head.windows(name.len()).position(|window| window == name)? + name.len();
    let rest: String = head[at..].iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
    major(rest.trim_start_matches(".so.").trim_start_matches('-'))
}

fn objcopy(sysroot: &Path) -> Option<PathBuf> {
    let hosts = fs::read_dir(sysroot.join("lib/rustlib")).into_iter().flatten().flatten();
    let beside_rustc = hosts.map(|entry| entry.path().join("bin/rust-objcopy"));
    let llvms = fs::read_dir(sysroot.join("lib")).into_iter().flatten().flatten();
    let beside_llvm = llvms.map(|entry| entry.path().join("bin/llvm-objcopy"));
    beside_rustc.chain(beside_llvm).find(|file| file.is_file()).or_else(|| programs("llvm-objcopy").into_iter().next())
}

fn say(program: &Path, arguments: &[&str], libraries: &[PathBuf]) -> Result<String, String> {
    let name = program.display();
    let mut command = Command::new(program);
    command.args(arguments);
    if !libraries.is_empty() {
        command.env("LD_LIBRARY_PATH", library_path(libraries));
    }
    let answer = command.output().map_err(|error| format!("{name} does not run: {error}"))?;
    if !answer.status.success() {
        let why = String::from_utf8_lossy(&answer.stderr);
        return Err(format!("{name} does not run: {}", why.lines().next().unwrap_or("it failed without a message")));
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// Returns the value of `LD_LIBRARY_PATH` that puts these folders before the current ones.
pub(crate) fn library_path(folders: &[PathBuf]) -> std::ffi::OsString {
    let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let all = folders.iter().cloned().chain(env::split_paths(&before).filter(|path| !path.as_os_str().is_empty()));
    // Only a colon in a path can fail here, and this variable could not hold it anyway.
    env::join_paths(all).unwrap_or_default()
}

fn is_bpf_object(file: &Path) -> Result<(), String> {
    let mut head = [0; 20];
    let read = fs::File::open(file).and_then(|mut file| file.read_exact(&mut head));
    let name = file.display();
    read.map_err(|error| format!("{OBJECT_VARIABLE}: cannot read {name}: {error}"))?;
    let machine = if head[5] == 1 { [head[18], head[19]] } else { [head[19], head[18]] };
    if !head.starts_with(b"\x7fELF") || u16::from_le_bytes(machine) != 247 {
        return Err(format!("{OBJECT_VARIABLE}: {name} is not a BPF object"));
    }
    Ok(())
}

fn major(version: &str) -> Option<u32> {
    let digits: String = version.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_llvm_is_told_from_its_words_or_from_the_library_it_needs() {
        assert_eq!(linker_llvm("bpf-linker 0.14.0 (LLVM 23.1.0)", b""), Some(23));
        assert_eq!(linker_llvm("bpf-linker 0.13.0", b"\x7fELF..libc.so.6\0libLLVM.so.22.1\0"), Some(22));
        assert_eq!(linker_llvm("bpf-linker 0.9.15", b"..libLLVM-19.so.1\0"), Some(19));
        assert_eq!(linker_llvm("bpf-linker 0.9.15", b"..libLLVM-19.so\0"), Some(19));
        assert_eq!(linker_llvm("bpf-linker 0.10.4", b"linked statically"), None);
    }

    #[test]
    fn only_bpf_objects_are_taken_for_prebuilt_ones() {
        let file = env::temp_dir().join(format!("probe-xtask-object-{}", std::process::id()));
        let mut head = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\xf7\0";
        fs::write(&file, head).unwrap();
        assert_eq!(is_bpf_object(&file), Ok(()));
        head[18] = 62;
        fs::write(&file, head).unwrap();
        assert!(is_bpf_object(&file).unwrap_err().contains("is not a BPF object"));
        fs::remove_file(&file).unwrap();
        assert!(is_bpf_object(&file).unwrap_err().contains("cannot read"));
    }
}
