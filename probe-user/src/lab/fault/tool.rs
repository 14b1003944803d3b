//! Running ip, tc, nft and the legacy iptables inside a host of the lab.

use std::{
    io::{self, Write},
    process::{Child, Stdio},
};

use super::error::FaultError;
use crate::lab::Netns;

/// Root's search path does not always have the folders these live in.
const FOLDERS: [&str; 3] = ["", "/usr/sbin/", "/sbin/"];

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
    for folder in FOLDERS {
        let mut command = netns.command(format!("{folder}{program}"));
        command.args(words.split_whitespace()).env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result.map_err(FaultError::system(format!("run {program}"))),
        }
    }
    Err(FaultError::NoTool { program: program.to_owned() })
}

/// Returns whether `program` is installed where [`run`] looks for it.
pub(super) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.iter().skip(1).map(Into::into));
    folders.into_iter().any(|folder| folder.join(program).is_file())
}
