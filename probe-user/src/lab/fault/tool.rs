//! Running ip, tc, nft and the legacy iptables inside a host of the lab.

use std::{env, time::Duration};

use super::error::FaultError;
use crate::{
    host::{child, command},
    lab::Netns,
};

/// The time limit of such a program.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs `program` with `words` and `input` inside `netns`. On failure, the error holds the first line it printed.
pub(super) fn run(netns: &Netns, program: &str, words: &str, input: &str) -> Result<(), FaultError> {
    let missing = || FaultError::NoTool { program: program.to_owned() };
    let mut command = netns.command(command::find(program).ok_or_else(missing)?);
    command.args(words.split_whitespace()).env("LC_ALL", "C");
    let finished =
        child::run(&mut command, input.as_bytes(), LIMIT).map_err(FaultError::system(format!("run {program}")))?;
    if finished.status.success() {
        return Ok(());
    }
    let message = first_line(&finished.stderr).unwrap_or_else(|| finished.status.to_string());
    Err(FaultError::Tool { command: format!("{program} {words}"), message })
}

/// Runs the shell script `text` inside `netns`, up to the first command of it that fails: the error then holds the first
/// line it printed.
pub(super) fn script(netns: &Netns, text: &str) -> Result<(), FaultError> {
    let path = env::var("PATH").unwrap_or_default();
    let mut command = netns.command("/bin/sh");
    command.args(["-ec", text]).env("LC_ALL", "C").env("PATH", format!("{path}:/usr/sbin:/sbin:/usr/bin:/bin"));
    let finished = child::run(&mut command, b"", LIMIT).map_err(FaultError::system("run /bin/sh"))?;
    if finished.status.success() {
        return Ok(());
    }
    let message = first_line(&finished.stderr).unwrap_or_else(|| finished.status.to_string());
    Err(FaultError::Tool { command: first_line(text).unwrap_or_default(), message })
}

/// Returns the first line that is not empty.
fn first_line(text: &str) -> Option<String> {
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}

/// Returns whether `program` is installed where [`run`] looks for it.
pub(super) fn is_there(program: &str) -> bool {
    command::find(program).is_some()
}
