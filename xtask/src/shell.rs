//! Runs other programs, with errors that name them, and becomes root for one of them.

use std::{
    env,
    ffi::OsStr,
    io::{IsTerminal as _, stdin},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Returns the top folder of the repository.
pub(crate) fn repo() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Prints a step and its reason, so that no wait is unexplained.
pub(crate) fn say(text: &str) {
    eprintln!("xtask: {text}");
}

/// Returns the cargo that runs xtask, in the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repo());
    command
}

/// Runs a command to its end and shows its output on the screen.
///
/// # Errors
/// If it can't be started, or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", words(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", words(command));
    }
    Ok(())
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// If it can't be started, or fails: then its standard error is part of the error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let answer = command.stdin(Stdio::null()).output();
    let answer = answer.with_context(|| format!("cannot start `{}`", words(command)))?;
    if !answer.status.success() {
        bail!("`{}` failed: {}", words(command), String::from_utf8_lossy(&answer.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

/// Returns the path of a program in `PATH` or in the folders for administrators, which Debian leaves out of a user's `PATH`.
pub(crate) fn which(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Reports whether this process is already root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// How this process can run a program as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// It is root.
    Already,
    /// Through sudo, which asks nothing (any more).
    Sudo,
    /// It can't.
    No,
}

impl Root {
    /// Finds out; lets sudo ask for the password, once, if there is a terminal.
    pub(crate) fn obtain(reason: &str) -> Self {
        if is_root() {
            return Self::Already;
        }
        let quiet = |arguments: &[&str]| {
            let mut sudo = Command::new("sudo");
            sudo.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            sudo.status().is_ok_and(|status| status.success())
        };
        if quiet(&["-n", "true"]) {
            return Self::Sudo;
        }
        if which("sudo").is_none() || !stdin().is_terminal() {
            return Self::No;
        }
        say(&format!("sudo may ask for your password: {reason}"));
        if Command::new("sudo").arg("-v").status().is_ok_and(|status| status.success()) { Self::Sudo } else { Self::No }
    }

    /// Returns a command that runs `program` as root; `None` if that is impossible.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> Option<Command> {
        match self {
            Self::Already => Some(Command::new(program)),
            Self::Sudo => {
                let mut sudo = Command::new("sudo");
                sudo.arg("--").arg(program);
                Some(sudo)
            }
            Self::No => None,
        }
    }
}

/// Formats a command the way a user would type it.
pub(crate) fn words(command: &Command) -> String {
    let program = [command.get_program()].into_iter();
    program.chain(command.get_args()).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
