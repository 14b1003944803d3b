//! The tests of one topic inside the machine, one process for all of them: one that hangs is killed, and those behind it run.

use std::{
    io::{self, PipeReader, Read as _, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, ExitStatus},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// How long a test may print nothing: emulated on a busy machine, the slowest takes half of that.
const SILENCE: Duration = Duration::from_secs(240);

/// The end of a topic of which every test has passed.
pub(super) const PASSED: &str = "code 0";

/// Runs these tests of `program`, which have `limit` in all; `hung` gets the name of each that had to be killed. Returns how it
/// ended.
///
/// # Errors
/// If the program can't be started.
pub(super) fn run(program: &str, names: &[&str], limit: Duration, hung: &dyn Fn(&str)) -> Result<String> {
    let deadline = Instant::now() + limit;
    let mut left = names;
    let mut end = PASSED.to_owned();
    loop {
        let (text, ended) = try_all(program, left, deadline)?;
        match ended {
            Some(words) => return Ok(if end == PASSED { words } else { end }),
            None if text.is_empty() => return Ok("said nothing and was killed".to_owned()),
            None => {
                let last = last_begun(&text, left);
                println!("\n{}", sum_of_killed(&text));
                hung(left.get(last).copied().unwrap_or("?"));
                left = left.get(last + 1..).unwrap_or_default();
                "a test hung".clone_into(&mut end);
            }
        }
        if Instant::now() > deadline {
            return Ok("took too long and was killed".to_owned());
        }
        if left.is_empty() {
            return Ok(end);
        }
    }
}

/// Runs the tests in one process: returns what it printed, and how it ended; `None` if it had to be killed.
fn try_all(program: &str, names: &[&str], deadline: Instant) -> Result<(String, Option<String>)> {
    let (output, input) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(["--color=never", "--test-threads=1", "--exact"]).args(names);
    command.stdout(input.try_clone()?).stderr(input).process_group(0);
    let mut child = command.spawn()?;
    drop(command);
    let chunks = passed_on(output);
    let mut text = String::new();
    let mut heard = Instant::now();
    loop {
        match chunks.recv_timeout(Duration::from_millis(50)) {
            Ok(chunk) => {
                text.push_str(&chunk);
                heard = Instant::now();
                continue;
            }
            // What a test left behind may hold the pipe open when the program itself has ended.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if let Some(status) = child.try_wait()? {
            return Ok((text, Some(in_words(Some(status)))));
        }
        if heard.elapsed() > SILENCE || Instant::now() > deadline {
            killpg(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGKILL)?;
            child.wait()?;
            return Ok((text, None));
        }
    }
}

/// Passes everything on to this program's output, and to the receiver.
fn passed_on(mut output: PipeReader) -> Receiver<String> {
    let (sender, chunks) = channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            // If this fails, nobody is left to tell.
            let _ = io::stdout().write_all(&bytes[..count]).and_then(|()| io::stdout().flush());
            if sender.send(String::from_utf8_lossy(&bytes[..count]).into_owned()).is_err() {
                return;
            }
        }
    });
    chunks
}

/// Returns how a program ended; `None`: it had to be killed.
pub(super) fn in_words(status: Option<ExitStatus>) -> String {
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => format!("code {code}"),
        Some((_, signal)) => format!("ended by signal {}", signal.unwrap_or_default()),
        None => "took too long and was killed".to_owned(),
    }
}

/// Returns the place of the test that was begun last: the program runs them in the order of their names, and prints a name
/// before it runs it.
fn last_begun(text: &str, names: &[&str]) -> usize {
    names.iter().rposition(|name| text.contains(&format!("test {name} ..."))).unwrap_or(0)
}

/// Returns the line that the program would have printed at its end, with the one that was killed among those that failed.
fn sum_of_killed(text: &str) -> String {
    let count = |result: &str| text.lines().filter(|line| line.trim_end().ends_with(result)).count();
    let begun = text.lines().filter(|line| line.starts_with("test ") && line.contains(" ...")).count();
    let (failed, ignored) = (count("FAILED"), count("ignored"));
    let passed = begun.saturating_sub(failed + ignored + 1);
    format!("test result: FAILED. {passed} passed; {} failed; {ignored} ignored", failed + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: &str = "running 5 tests\ntest a::one ... ok\ntest a::three ... ignored\ntest a::two ... why\nFAILED\n\
        test b::four ... ";

    #[test]
    fn the_test_that_hangs_is_the_one_that_was_begun_last() {
        assert_eq!(last_begun(KILLED, &["a::one", "a::three", "a::two", "b::four", "b::one"]), 3);
        assert_eq!(last_begun("", &["a::one"]), 0);
    }

    #[test]
    fn what_was_done_before_the_one_that_hangs_counts() {
        assert_eq!(sum_of_killed(KILLED), "test result: FAILED. 1 passed; 2 failed; 1 ignored");
    }

    #[test]
    fn those_behind_one_that_hangs_are_run_and_a_program_that_ends_is_not_killed() {
        let folder = std::env::temp_dir().join(format!("probe-xtask-topic-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join("tests");
        std::fs::write(&program, "#!/bin/sh\nprintf 'test x ... ok\\n'\nexit 3\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let end = run(&program.to_string_lossy(), &["x"], Duration::from_secs(20), &|_| panic!("nothing hangs"));
        let asleep = "#!/bin/sh\ncase $* in *one*) printf 'test one ... '; exec sleep 60;; *) printf 'test two ... ok\\n';; esac\n";
        std::fs::write(&program, asleep).unwrap();
        let late =
            try_all(&program.to_string_lossy(), &["one", "two"], Instant::now() + Duration::from_secs(1)).unwrap();
        let rest = try_all(&program.to_string_lossy(), &["two"], Instant::now() + Duration::from_secs(20)).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        assert_eq!(end.unwrap(), "code 3");
        assert_eq!((last_begun(&late.0, &["one", "two"]), late.1), (0, None));
        assert_eq!(rest, ("test two ... ok\n".to_owned(), Some("code 0".to_owned())));
    }
}
