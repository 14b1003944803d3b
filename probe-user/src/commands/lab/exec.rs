//! `probe lab exec HOST -- CMD`: probe becomes the command, inside the host's namespace.

use std::{ffi::OsStr, io, os::unix::process::CommandExt};

use crate::commands::{CommandResult, Screen, fail};
use crate::{cli::lab::Exec, error::Failure, lab::standing};

/// The shell's exit status for a command that exists but cannot be run.
const CANNOT_RUN: i32 = 126;

/// The shell's exit status for a command that does not exist.
const NOT_FOUND: i32 = 127;

/// Replaces this process by the command, which gets its signals, its terminal and its exit status.
pub(super) fn run(args: &Exec, screen: &Screen) -> CommandResult {
    let netns = standing::host(args.host.into())?;
    // Whether this process may enter at all is distinguished here from whether the command can be run.
    netns.run(|| ())?;
    let (program, arguments) = args.command.split_first().expect("clap requires a command");
    let error = netns.command(program).args(arguments).exec();
    let (failure, status) = not_run(program, &error);
    fail(screen.output.format, &failure);
    std::process::exit(status)
}

/// Returns why the command did not start, and the exit status that a shell would give.
fn not_run(program: &OsStr, error: &io::Error) -> (Failure, i32) {
    let name = program.display();
    if error.kind() == io::ErrorKind::NotFound {
        let fix = "check its name, and that it is installed on this machine";
        return (Failure::new(format!("{name}: command not found"), fix), NOT_FOUND);
    }
    (Failure::new(format!("cannot run {name}: {error}"), "check that it is an executable program"), CANNOT_RUN)
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
