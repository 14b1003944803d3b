//! The `probe` binary: parse, run, exit.

use probe_user::{commands, exit::Exit};

fn main() -> Exit {
    commands::main(std::env::args_os())
}
