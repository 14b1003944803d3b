//! The `probe` binary: parse, run, exit.

use std::process::ExitCode;

use probe_user::{commands, host::name_service};

fn main() -> ExitCode {
    name_service::keep_to_what_is_built_in();
    commands::main(std::env::args_os()).code().into()
}
