//! What README and `docs/` show is typed in a lab, and must print what stands there.
//!
//! A file is one session in a lab of its own. Lines of `console` blocks that begin with `$` are typed on host a, those about
//! the lab itself beside it; `ssh b` reaches host b of the lab, `ssh fw` the firewall.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use clap::{CommandFactory, Parser};
use nix::mount::{MsFlags, mount};
use probe_user::cli::Cli;

use super::{excused::EXCUSED, masked, pages::FOLDERS, repo};
use crate::common::{self, net::own_bpffs};

/// A command that a page shows, and what it shows of its output.
struct Shown {
    line: usize,
    command: String,
    output: String,
}

/// The commands of a page, in order.
fn shown(text: &str) -> Vec<Shown> {
    let (mut found, mut inside, mut continued) = (Vec::<Shown>::new(), false, false);
    for (line, content) in text.lines().enumerate() {
        if content.starts_with("```") {
            (inside, continued) = (content == "```console", false);
            continue;
        }
        match (inside, content.strip_prefix("$ "), found.last_mut()) {
            (false, ..) => {}
            (true, Some(command), _) => {
                found.push(Shown { line: line + 1, command: command.to_owned(), output: String::new() });
                continued = command.ends_with('\\');
            }
            (true, None, Some(last)) if continued => {
                last.command.truncate(last.command.len() - 1);
                last.command += content.trim_start();
                continued = content.ends_with('\\');
            }
            (true, None, Some(last)) => last.output += &format!("{content}\n"),
            (true, None, None) => panic!("line {}: a console block begins with a command", line + 1),
        }
    }
    found
}

/// Where `sudo`, `ssh` and `probe` of a session are.
const BIN: &str = "/run/probe-docs";

/// Gives this thread, and what it starts, a `/run` and a bpffs of its own, and in it what the session calls.
fn prepare() {
    own_bpffs();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).expect("an empty /run");
    fs::create_dir(BIN).expect("a folder");
    let script = |name: &str, text: &str| {
        let path = Path::new(BIN).join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    };
    script("sudo", "exec \"$@\"");
    // As ssh does it: the words are joined, and the far end's shell takes them apart.
    script("ssh", "host=$1\nshift\nexec probe lab exec \"$host\" -- sh -c \"$*\"");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_probe"), Path::new(BIN).join("probe")).expect("a link");
}

/// Types `command` where it belongs.
fn typed(command: &str) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut process = Command::new("timeout");
    process.args(["--kill-after=5", "300"]);
    if !command.starts_with("sudo probe lab") && !command.starts_with("probe lab") {
        process.args([&format!("{BIN}/probe"), "lab", "exec", "a", "--"]);
    }
    process.args(["sh", "-c", command]).env("PATH", format!("{BIN}:{path}")).stdin(Stdio::null());
    process.env("LC_ALL", "C.UTF-8").output().expect("timeout is there")
}

/// The words of a shell command.
fn split(command: &str) -> Vec<String> {
    let output = Command::new("sh").args(["-c", &format!("printf '%s\\0' {command}")]).output().expect("a shell");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

/// Asserts that probe takes the command, if it is one of probe's.
fn assert_accepted(place: &str, command: &str) {
    let words = split(command.split(['|', '>', '&']).next().unwrap_or_default());
    let words: Vec<&String> = words.iter().skip_while(|word| *word == "sudo").collect();
    if words.first().is_some_and(|word| *word == "probe")
        && let Err(error) = Cli::try_parse_from(words)
    {
        panic!("{place}: {command}: {error}");
    }
}

/// Repeats what `file` shows.
fn session(file: &str) {
    let test = format!("what {file} shows");
    if !common::is_root(&test) || !common::has_linux(&test, (6, 6), "what is shown was printed by a kernel with TCX") {
        return;
    }
    let text = fs::read_to_string(repo().join(file)).expect("the page is there");
    prepare();
    let up = typed("probe lab up");
    assert!(up.status.success(), "{up:?}");
    let mut faults = Vec::new();
    for Shown { line, command, output } in shown(&text) {
        let place = format!("{file}:{line}");
        if let Some(words) = command.strip_prefix("cargo xtask ") {
            assert_xtask_has(&place, words);
            continue;
        }
        assert_accepted(&place, &command);
        let excused = EXCUSED.iter().find(|excused| command.starts_with(excused.begins));
        let Some(to_run) = excused.map_or(Some(command.as_str()), |excused| excused.instead) else { continue };
        let ran = typed(to_run);
        let (printed, told) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        let difference = match ran.status.code() {
            Some(0 | 1) if excused.is_some() || output.is_empty() => None,
            Some(0 | 1) => masked::difference(&output, &printed),
            code => Some(format!("exit status {code:?}")),
        };
        if let Some(difference) = difference {
            faults.push(format!("{place}: {to_run}\n{difference}\n--- printed:\n{printed}{told}"));
        }
    }
    let down = typed("probe lab down");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(down.status.success(), "{down:?}");
}

/// Asserts that `cargo xtask WORDS` is a command, by xtask itself where it was built beside probe.
fn assert_xtask_has(place: &str, words: &str) {
    let sources = fs::read_to_string(repo().join("xtask/src/main.rs")).expect("xtask is there");
    let verb =
        words.split_whitespace().next().unwrap_or_default().trim_matches(|letter: char| !letter.is_alphanumeric());
    let module = verb.replace('-', "_");
    assert!(sources.contains(&format!("mod {module};")), "{place}: cargo xtask {words}: there is no {verb}");
    let xtask = Path::new(env!("CARGO_BIN_EXE_probe")).with_file_name("xtask");
    if xtask.exists() {
        let before: Vec<_> = words.split_whitespace().take_while(|word| *word != "--").collect();
        let ran = Command::new(xtask).args(before).arg("--help").output().expect("xtask starts");
        assert!(ran.status.success(), "{place}: cargo xtask {words}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

macro_rules! sessions {
    ($($name:ident: $file:literal,)*) => {
        $(#[test]
        fn $name() {
            session($file);
        })*

        /// The files that have a session.
        const FILES: &[&str] = &[$($file),*];
    };
}

sessions! {
    readme: "README.md",
    method: "docs/method.md",
    path: "docs/path.md",
    overlay: "docs/overlay.md",
    cookbook: "docs/cookbook.md",
    filter: "docs/filter.md",
    middlebox: "docs/middlebox.md",
    lab: "docs/lab.md",
    run: "docs/run.md",
}

/// README and all pages that are written by hand.
fn by_hand() -> Vec<String> {
    let entries = fs::read_dir(repo().join("docs")).expect("docs are there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let pages = names.filter(|name| name.ends_with(".md") && name != "commands.md").map(|name| format!("docs/{name}"));
    pages.chain(["README.md".to_owned()]).collect()
}

#[test]
fn every_page_that_shows_commands_has_its_session() {
    for file in by_hand() {
        let text = fs::read_to_string(repo().join(&file)).expect("a page");
        assert!(shown(&text).is_empty() || FILES.contains(&file.as_str()), "{file} has no session");
        for block in text.split("\n```").skip(1).step_by(2) {
            let bare = !block.starts_with("console") && block.lines().any(|line| line.starts_with("$ "));
            assert!(!bare, "{file}: a block with commands is no console block: {block}");
        }
    }
}

#[test]
fn every_link_and_every_named_command_is_there() {
    let verbs: Vec<String> = Cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    for file in by_hand() {
        let text = fs::read_to_string(repo().join(&file)).expect("a page");
        let folder = repo().join(&file).parent().expect("a folder").to_path_buf();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            let elsewhere = path.is_empty() || link.contains("://");
            assert!(elsewhere || folder.join(path).exists(), "{file}: {link} leads nowhere");
        }
        let named = |begin: &str| {
            let after = text.split(begin).skip(1).filter_map(|rest| rest.split(['`', ' ', '\n']).next());
            after.map(str::to_owned).collect::<Vec<_>>()
        };
        for verb in named("`probe ").into_iter().filter(|verb| verb.starts_with(|letter: char| letter.is_lowercase())) {
            assert!(verbs.contains(&verb), "{file}: there is no probe {verb}");
        }
        for verb in named("`cargo xtask ").into_iter().filter(|verb| verb.starts_with(|l: char| l.is_lowercase())) {
            assert_xtask_has(&file, &verb);
        }
    }
}

#[test]
fn readme_is_short() {
    let words = fs::read_to_string(repo().join("README.md")).expect("README").split_whitespace().count();
    assert!(words < 1_500, "{words} words");
}

#[test]
fn folders_of_pages_are_read_by_their_index() {
    for folder in FOLDERS {
        assert!(repo().join("docs").join(folder).join("README.md").exists(), "docs/{folder} has no list");
    }
}
