//! Which programs a far host of some processor architecture may be able to run: this one, and static builds beside it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::Trouble;

/// The programs to try on a far host, best first; at least one.
#[derive(Debug)]
pub(super) struct BuildsToTry {
    /// Their files.
    pub(super) programs: Vec<PathBuf>,
    arch: String,
}

/// Chooses for the output of `uname -m`. A static build is a file `probe-ARCH` beside the running program, or in the folder `dist`
/// beside its folder, where `cargo xtask dist` puts it.
///
/// # Errors
/// There is none for that architecture.
pub(super) fn for_machine(running: &Path, uname: &str) -> Result<BuildsToTry, Trouble> {
    // A host that does not say may be one like this.
    let arch = if uname.is_empty() { env::consts::ARCH } else { machine(uname) };
    let mut programs: Vec<PathBuf> = if arch == env::consts::ARCH { vec![running.to_owned()] } else { Vec::new() };
    programs.extend(beside(running, arch));
    if programs.is_empty() {
        return Err(Trouble::Deploy {
            why: format!("the far host is {uname}, and this program is built for {}", env::consts::ARCH),
            fix: fix(arch),
        });
    }
    Ok(BuildsToTry { programs, arch: arch.to_owned() })
}

impl BuildsToTry {
    /// Returns what to say when the far host ran none of them.
    pub(super) fn none_runs(&self, complaint: &str) -> Trouble {
        let complaint = if complaint.is_empty() { "it gave no reason" } else { complaint };
        Trouble::Deploy { why: format!("the far host cannot run it: {complaint}"), fix: fix(&self.arch) }
    }
}

fn fix(arch: &str) -> String {
    format!(
        "put a static build for it beside this program as probe-{arch} (cargo xtask dist --target {arch}-unknown-linux-gnu), \
         or install probe there and use --peer 'ssh HOST sudo probe agent'"
    )
}

fn beside(running: &Path, arch: &str) -> Option<PathBuf> {
    // What runs is a link to its file; where that was removed, its folder may still be there.
    let file = fs::read_link(running).unwrap_or_else(|_| running.to_owned());
    let folder = file.parent()?;
    let name = format!("probe-{arch}");
    let places = [Some(folder.join(&name)), folder.parent().map(|above| above.join("dist").join(&name))];
    places.into_iter().flatten().find(|place| place.is_file() && *place != file)
}

/// Returns the compiler's name for the output of `uname -m`.
fn machine(uname: &str) -> &str {
    match uname {
        "i386" | "i486" | "i586" | "i686" => "x86",
        "arm64" => "aarch64",
        "ppc64" | "ppc64le" => "powerpc64",
        arm if arm.starts_with("armv") => "arm",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn with(name: &str, files: &[&str]) -> Self {
            let folder = env::temp_dir().join(format!("probe-builds-{}-{name}", std::process::id()));
            for file in files {
                let file = folder.join(file);
                fs::create_dir_all(file.parent().expect("a folder")).expect("a new folder");
                fs::write(file, "program").expect("it is ours");
            }
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn this_program_comes_first_and_a_static_build_beside_it_second() {
        let ours = env::consts::ARCH;
        let folder = Folder::with("same", &["bin/probe", &format!("bin/probe-{ours}")]);
        let running = folder.0.join("bin/probe");
        let choice = for_machine(&running, ours).expect("it may run");
        assert_eq!(choice.programs, [running, folder.0.join(format!("bin/probe-{ours}"))]);
        // Where the static build itself runs, it is not tried twice.
        let only = for_machine(&folder.0.join(format!("bin/probe-{ours}")), ours).expect("it may run");
        assert_eq!(only.programs.len(), 1);
        assert_eq!(for_machine(&only.programs[0], "").expect("it may run").programs, only.programs);
    }

    #[test]
    fn another_machine_takes_a_build_of_its_own_or_one_sentence() {
        let folder = Folder::with("other", &["debug/probe", "dist/probe-riscv128"]);
        let running = folder.0.join("debug/probe");
        assert_eq!(
            for_machine(&running, "riscv128").expect("there is one").programs,
            [folder.0.join("dist/probe-riscv128")]
        );
        let trouble = for_machine(&running, "riscv256").expect_err("there is none").to_string();
        assert!(trouble.contains("riscv256") && trouble.contains(env::consts::ARCH), "{trouble}");
        assert_eq!((machine("arm64"), machine("armv7l"), machine("i686")), ("aarch64", "arm", "x86"));
    }

    #[test]
    fn what_runs_through_a_link_is_looked_for_beside_its_file() {
        let folder = Folder::with("link", &["bin/probe", "bin/probe-riscv128"]);
        let link = folder.0.join("exe");
        std::os::unix::fs::symlink(folder.0.join("bin/probe"), &link).expect("a new link");
        assert_eq!(
            for_machine(&link, "riscv128").expect("there is one").programs,
            [folder.0.join("bin/probe-riscv128")]
        );
    }
}
