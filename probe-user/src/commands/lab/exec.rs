//! `probe lab exec HOST -- CMD`: probe becomes the command, inside the host's namespace.

use std::{ffi::OsStr, io, os::unix::process::CommandExt};

use crate::commands::{CommandResult, Screen, fail};
use crate::{cli::lab::Exec, error::Failure, lab::standing};

/// What a shell answers for a command that is there and cannot be run.
const CANNOT_RUN: i32 = 126;

/// What a shell answers for a command that is not there.
const NOT_FOUND: i32 = 127;

/// Runs the command in place of this process: its signals, its terminal and its exit status are its own.
pub(super) fn run(args: &Exec, screen: &Screen) -> CommandResult {
    let netns = standing::host(args.host.into())?;
    // Whether this process may enter at all is told apart here from whether the command can be run.
    netns.run(|| ())?;
    let (program, arguments) = args.command.split_first().expect("clap requires a command");
    let error = netns.command(program).args(arguments).exec();
    let (failure, status) = not_run(program, &error);
    fail(screen.output.format, &failure);
    std::process::exit(status)
}

/// Why the command did not start, and the exit status that a shell would give.
fn not_run(program: &OsStr, error: &io::Error) -> (Failure, i32) {
    let name = program.display();
    if error.kind() == io::ErrorKind::NotFound {
        let fix = "check its name, and that it is installed on this machine";
        return (Failure::new(format!("{name}: command not found"), fix), NOT_FOUND);
    }
    (Failure::new(format!("cannot run {name}: {error}"), "see that it is a program that may be executed"), CANNOT_RUN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_does_not_start_ends_as_in_a_shell() {
        let status = |kind: io::ErrorKind| not_run(OsStr::new("x"), &kind.into()).1;
        assert_eq!(status(io::ErrorKind::NotFound), 127);
        assert_eq!(status(io::ErrorKind::PermissionDenied), 126);
    }
}
