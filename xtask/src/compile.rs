//! Runs a cargo command that compiles, reads its messages, and makes sure that the kernel half is in the result.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    setup,
    shell::{cargo, words},
};

/// What a cargo command made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Compiled {
    /// Programs and test programs with the name of their target, in the order in which they were built.
    pub(crate) executables: Vec<(String, PathBuf)>,
    /// Whether the build script found no BPF toolchain.
    pub(crate) stub: bool,
}

/// Returns a cargo command that compiles with the kernel half, whatever the caller's editor has set for itself.
pub(crate) fn with_kernel_half() -> Command {
    let mut command = cargo();
    command.env_remove("PROBE_BPF_SKIP");
    command
}

/// Compiles with `cargo <arguments>`, and shows errors on the screen.
///
/// # Errors
/// If it does not compile, or lacks its kernel half although there is a toolchain.
pub(crate) fn compile(arguments: &[&str]) -> Result<Compiled> {
    compile_with(arguments, &[])
}

/// Compiles as [`compile`] does, with these variables in cargo's environment.
///
/// # Errors
/// As [`compile`].
pub(crate) fn compile_with(arguments: &[&str], variables: &[(String, OsString)]) -> Result<Compiled> {
    let made = once(arguments, variables)?;
    if !made.stub {
        return Ok(made);
    }
    // The stub may be older than the toolchain: make the build script look again.
    setup::look_again()?;
    let made = once(arguments, variables)?;
    if made.stub {
        setup::toolchain_in_words()?;
        bail!("probe was built without its kernel half although there is a BPF toolchain");
    }
    Ok(made)
}

fn once(arguments: &[&str], variables: &[(String, OsString)]) -> Result<Compiled> {
    let mut command = with_kernel_half();
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.args(arguments).arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", words(&command)))?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut made = Compiled::default();
    for line in BufReader::new(output).lines() {
        read(&line.context("cannot read cargo's output")?, &mut made);
    }
    if !child.wait()?.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(made)
}

fn read(line: &str, made: &mut Compiled) {
    // Anything else on this stream is not cargo's.
    let Ok(message) = serde_json::from_str::<Value>(line) else { return };
    match message["reason"].as_str() {
        Some("compiler-artifact") => {
            let name = message["target"]["name"].as_str();
            if let (Some(name), Some(file)) = (name, message["executable"].as_str()) {
                made.executables.push((name.to_owned(), PathBuf::from(file)));
            }
        }
        Some("build-script-executed") => {
            let cfgs = message["cfgs"].as_array().into_iter().flatten();
            made.stub |= cfgs.into_iter().any(|cfg| cfg == "probe_stub");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_and_the_stub_are_read_from_cargos_messages() {
        let mut made = Compiled::default();
        read(r#"{"reason":"compiler-artifact","target":{"name":"probe"},"executable":"/t/release/probe"}"#, &mut made);
        read(r#"{"reason":"compiler-artifact","target":{"name":"aya"},"executable":null}"#, &mut made);
        read("a line of some build tool", &mut made);
        read(r#"{"reason":"build-script-executed","cfgs":["other"]}"#, &mut made);
        assert!(!made.stub);
        read(r#"{"reason":"build-script-executed","cfgs":["probe_stub"]}"#, &mut made);
        let executables = vec![("probe".to_owned(), PathBuf::from("/t/release/probe"))];
        assert_eq!(made, Compiled { executables, stub: true });
    }
}
