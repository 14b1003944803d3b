//! Stands in front of `ping` in a script: runs it, then probe with the same flags, and notes what each of them met.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Command, ExitCode, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::judge::{Fared, PingJudgement, judge};
use crate::shell::which;

/// The environment of a script: probe's program, the file of notes, the script's own log and its name.
pub(super) const PROBE: &str = "PROBE_SELFTESTS_PROBE";
pub(super) const NOTES: &str = "PROBE_SELFTESTS_NOTES";
pub(super) const LOG: &str = "PROBE_SELFTESTS_LOG";
pub(super) const SCRIPT: &str = "PROBE_SELFTESTS_SCRIPT";
/// The folder in which the programs of these names are this one.
pub(super) const SHADOWS: &str = "PROBE_SELFTESTS_SHADOWS";

/// The names under which scripts start it. `timeout` is one, as its limit is meant for ping alone.
pub(super) const NAMES: [&str; 3] = ["ping", "ping6", "timeout"];

/// Returns the name that this program was started by, if it stands in front of another one.
pub(crate) fn name() -> Option<&'static str> {
    let started = env::args_os().next()?;
    let started = Path::new(&started).file_name()?.to_owned();
    NAMES.into_iter().find(|name| started == *name)
}

/// What a script wants to be run.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// The limit around it: the arguments of `timeout`.
    limit: Vec<OsString>,
    /// The arguments of ping.
    flags: Vec<OsString>,
    /// Whether it is ping6.
    six: bool,
}

impl Wanted {
    /// Takes the words of a command; `None` if it runs no ping.
    fn of(name: &str, arguments: Vec<OsString>) -> Option<Self> {
        let six = |name: &str| name == "ping6";
        if name != "timeout" {
            return Some(Self { limit: Vec::new(), flags: arguments, six: six(name) });
        }
        let program =
            |word: &OsString| Path::new(word).file_name().is_some_and(|name| name == "ping" || name == "ping6");
        let at = arguments.iter().position(program)?;
        let six = Path::new(&arguments[at]).ends_with("ping6");
        let (limit, rest) = arguments.split_at(at);
        Some(Self { limit: limit.to_vec(), flags: rest[1..].to_vec(), six })
    }

    /// Returns whether it ends by itself, and sends echo at all.
    fn ends(&self) -> bool {
        let is = |flag: &str| self.flags.iter().any(|word| word.to_string_lossy().starts_with(flag));
        (is("-c") || is("-w") || !self.limit.is_empty()) && !is("-V")
    }

    fn ping(&self, ping: &Path) -> Result<Command> {
        let mut command = match self.limit.as_slice() {
            [] => Command::new(ping),
            limit => {
                let mut command = Command::new(real("timeout")?);
                command.args(limit).arg(ping);
                command
            }
        };
        command.args(self.six.then_some("-6")).args(&self.flags);
        Ok(command)
    }

    fn probe(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg("diagnose").args(&self.flags).args(self.six.then_some("-6")).args(["--format", "json"]);
        // A limit of the script's is for ping.
        command.process_group(0).stdin(Stdio::null());
        command
    }
}

/// Runs what the script asked for, and compares it with probe; ends as the script's own command does.
///
/// # Errors
/// The real program is not here, or a note cannot be written.
pub(crate) fn run(name: &str) -> Result<ExitCode> {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let Some(wanted) = Wanted::of(name, arguments.clone()) else {
        bail!(Command::new(real(name)?).args(arguments).exec());
    };
    let ping = real("ping")?;
    if !wanted.ends() {
        // It ends by a signal of the script's.
        bail!(wanted.ping(&ping)?.exec());
    }
    let first = wanted.ping(&ping)?.stdin(Stdio::null()).output().context("cannot start ping")?;
    io::stdout().write_all(&first.stdout)?;
    io::stderr().write_all(&first.stderr)?;
    compare(&wanted, &ping, &first)?;
    let code = first.status.code().unwrap_or_else(|| 128 + first.status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

fn compare(wanted: &Wanted, ping: &Path, first: &Output) -> Result<()> {
    let program = env::var_os(PROBE).context("no probe to compare with")?;
    let said = wanted.probe(Path::new(&program)).output().context("cannot start probe")?;
    let document: Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
    let (one, probe) = (fared_ping(first), fared_probe(&document, said.status.code()));
    let mut judgement = judge(&one, &probe);
    if !judgement.agrees() {
        // The first ping may have changed the state that it met: a path MTU learned, a redirect taken.
        let again = wanted.ping(ping)?.stdin(Stdio::null()).output().context("cannot start ping")?;
        if judge(&fared_ping(&again), &probe).agrees() {
            judgement = PingJudgement::AgreedAgain;
        }
    }
    let words = wanted.flags.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let error = || document["error"].as_str().map_or_else(|| last_line(&said.stderr), str::to_owned);
    let told = document["verdict"]["sentence"].as_str().map_or_else(error, str::to_owned);
    let note = json!({
        "script": env::var(SCRIPT).unwrap_or_default(),
        "ping": words,
        "judgement": judgement.name(),
        "answered": { "ping": one.answered, "probe": probe.answered },
        "exit": { "ping": first.status.code(), "probe": said.status.code() },
        "ping_said": last_line(&[first.stdout.as_slice(), &first.stderr].concat()),
        "sentence": told,
        "document": document,
    });
    append(NOTES, &format!("{note}\n"))?;
    append(
        LOG,
        &format!(
            "    # {}: ping {words}: ping had {}, probe {}: {told}\n",
            judgement.name(),
            one.words(),
            probe.words()
        ),
    )
}

fn append(variable: &str, text: &str) -> Result<()> {
    let file = env::var_os(variable).with_context(|| format!("{variable} is not set"))?;
    let mut file = File::options().append(true).create(true).open(file).context("cannot open the notes")?;
    // In one piece: pings run side by side.
    file.write_all(text.as_bytes()).context("cannot write a note")
}

/// Returns the program that this one stands in front of.
fn real(name: &str) -> Result<std::path::PathBuf> {
    let shadows = env::var_os(SHADOWS).context("the folder of the stand-ins is not named")?;
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).filter(|folder| folder.as_os_str() != shadows);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.or_else(|| which(name)).with_context(|| format!("{name} is not installed"))
}

/// Reads how ping fared from its last lines.
fn fared_ping(output: &Output) -> Fared {
    let text = String::from_utf8_lossy(&output.stdout);
    let before = |word: &str| {
        let before = text.lines().rev().find_map(|line| line.split_once(word))?.0;
        before.rsplit([' ', ',']).find(|word| !word.is_empty())?.parse().ok()
    };
    let (sent, answered) = (before(" packets transmitted"), before(" received"));
    Fared { sent, answered, well: output.status.success() }
}

fn fared_probe(document: &Value, code: Option<i32>) -> Fared {
    Fared { sent: document["sent"].as_u64(), answered: document["answered"].as_u64(), well: code == Some(0) }
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
