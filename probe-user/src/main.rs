//! The `probe` binary: parse, run, exit.

use std::process::ExitCode;

use probe_user::commands;

fn main() -> ExitCode {
    commands::main(std::env::args_os()).code().into()
}
