//! Runs another program in this thread's network namespace, for a bounded time.

use std::{fs, io, os::unix::fs::PermissionsExt, path::PathBuf, process::Command, time::Duration};

use super::child::{self, Finished};

/// The time limit of a program that only lists something; they take milliseconds, or a second with 100,000 rules.
const LIMIT: Duration = Duration::from_secs(3);

/// The folders of root's programs, which the search path of other users may lack.
const FOLDERS: [&str; 5] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Quotes `text` as one word for a shell, if it needs quotes.
pub fn quoted(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+".contains(character);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Returns the path of `program`, an executable file; `None` if it is not installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(is_executable)
}

fn is_executable(file: &PathBuf) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs `program` and returns what it prints.
///
/// # Errors
/// `NotFound` if it is not installed, `TimedOut` if it does not end, and its error output if it fails.
pub fn output(program: &str, arguments: &[&str]) -> io::Result<String> {
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{program} is not installed"));
    let mut command = Command::new(find(program).ok_or_else(missing)?);
    let Finished { status, stdout, stderr } = child::run(command.args(arguments).env("LC_ALL", "C"), b"", LIMIT)?;
    if status.success() { Ok(stdout) } else { Err(io::Error::other(format!("{program}: {}", stderr.trim()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_prints_is_told_however_long_it_is() {
        assert_eq!(output("echo", &["one"]).expect("every system has it"), "one\n");
        let long = output("seq", &["100000"]).expect("every system has it");
        assert!(long.ends_with("100000\n"));
    }

    #[test]
    fn a_word_with_blanks_or_quotes_is_one_word_of_a_shell() {
        assert_eq!(quoted("/opt/probe-1.0/bin/probe"), "/opt/probe-1.0/bin/probe");
        assert_eq!(quoted("/home/o'neil/my tools/probe"), "'/home/o'\\''neil/my tools/probe'");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }

    #[test]
    fn an_executable_is_found_and_what_is_none_is_not() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program"), None);
    }

    #[test]
    fn a_program_that_is_missing_or_fails_is_an_error() {
        let missing = output("no-such-program", &[]).expect_err("missing");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert!(output("false", &[]).is_err());
        let said = output("ls", &["/no/such/file"]).expect_err("missing").to_string();
        assert!(said.contains("/no/such/file"), "{said}");
    }
}
