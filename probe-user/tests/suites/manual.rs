//! `probe completions` and `probe man`: made from the definitions that parse the command line, and read by what they are for.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use clap::{CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;
use probe_user::cli::Cli;

fn probe(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_probe")).args(args).output().expect("probe runs")
}

fn printed(args: &[&str]) -> String {
    let output = probe(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What a program does with `script` on its stdin; `None` if this machine lacks it.
fn fed(program: &str, args: &[&str], script: &str) -> Option<Output> {
    let mut command = Command::new(program);
    let mut child =
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
    child.stdin.take().expect("a pipe").write_all(script.as_bytes()).expect("it reads");
    Some(child.wait_with_output().expect("it ends"))
}

#[test]
fn every_shell_gets_completions_that_name_every_verb() {
    for shell in Shell::value_variants() {
        let script = printed(&["completions", &shell.to_string()]);
        for verb in Cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()) {
            assert!(script.contains(&verb), "{shell} does not complete {verb}");
        }
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        if let Some(read) = fed(shell, &["-n"], &script) {
            assert!(read.status.success(), "{shell}: {}", String::from_utf8_lossy(&read.stderr));
        }
    }
}

#[test]
fn bash_completes_a_verb_and_a_flag_of_one_below_it() {
    let script = printed(&["completions", "bash"]);
    let ask = |words: &str, count: usize| {
        let last = words.split_whitespace().last().unwrap_or_default();
        let asked = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD={count}; _probe probe '{last}' ''\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        let answer = fed("bash", &["--norc"], &asked).expect("bash is there");
        String::from_utf8(answer.stdout).expect("UTF-8")
    };
    assert_eq!(ask("probe diag", 1).trim(), "diagnose");
    assert!(ask("probe filter add --dir", 3).contains("--direction"));
}

#[test]
fn every_verb_has_a_man_page() {
    let folder = std::env::temp_dir().join(format!("probe-man-test-{}", std::process::id()));
    printed(&["man", "--all", &folder.to_string_lossy()]);
    let mut whole = Cli::command();
    whole.build();
    let mut rest = vec![&whole];
    while let Some(command) = rest.pop() {
        let name = command.get_bin_name().unwrap_or_else(|| command.get_name()).replace(' ', "-");
        page_is_whole(&folder, &name);
        rest.extend(command.get_subcommands().filter(|verb| verb.get_name() != "help"));
    }
    assert_eq!(
        fs::read_to_string(folder.join("probe-filter-add.1")).expect("a page"),
        printed(&["man", "filter", "add"])
    );
    fs::remove_dir_all(folder).expect("it is there");
}

#[track_caller]
fn page_is_whole(folder: &Path, name: &str) {
    let page = fs::read_to_string(folder.join(format!("{name}.1"))).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(page.contains(&format!(".TH {} 1", name.to_uppercase())), "{name}: {page}");
    assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH OPTIONS"), "{name}: {page}");
}

#[test]
fn what_there_is_not_is_refused_in_one_sentence() {
    for (args, word) in [
        (&["man", "nope"][..], "one of diagnose, run"),
        (&["man", "diagnose", "nope"], "probe diagnose has no verb nope"),
        (&["man", "filter", "nope"], "one of "),
        (&["man", "--all", "/proc/probe"], "cannot write /proc/probe"),
        (&["man", "diagnose", "--all", "/tmp"], "cannot be used with"),
        (&["completions", "ksh"], "possible values: bash"),
    ] {
        let output = probe(args);
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
    }
}
