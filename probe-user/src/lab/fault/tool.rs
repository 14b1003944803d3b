//! Running ip, tc, nft and the legacy iptables inside a host of the lab.

use std::{
    io::Write,
    process::{Child, Stdio},
};

use super::error::FaultError;
use crate::{host::command, lab::Netns};

/// Runs `program` with `words` and `input` inside `netns`. On failure, the error holds the first line it printed.
pub(super) fn run(netns: &Netns, program: &str, words: &str, input: &str) -> Result<(), FaultError> {
    let mut child = start(netns, program, words)?;
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // A program that ends early leaves a broken pipe; its own message says why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(FaultError::system(format!("wait for {program}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let message = text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    let message = message.unwrap_or_else(|| output.status.to_string());
    Err(FaultError::Tool { command: format!("{program} {words}"), message })
}

fn start(netns: &Netns, program: &str, words: &str) -> Result<Child, FaultError> {
    let missing = || FaultError::NoTool { program: program.to_owned() };
    let mut command = netns.command(command::find(program).ok_or_else(missing)?);
    command.args(words.split_whitespace()).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().map_err(FaultError::system(format!("run {program}")))
}

/// Returns whether `program` is installed where [`run`] looks for it.
pub(super) fn is_there(program: &str) -> bool {
    command::find(program).is_some()
}
