//! `probe completions`: prints what completes probe's command line in a shell.

use clap::CommandFactory as _;
use clap_complete::generate;

use super::{CommandResult, Screen};
use crate::{
    cli::{Cli, completions::Completions},
    exit::Exit,
};

/// Runs `probe completions`.
pub fn run(args: &Completions, screen: &Screen) -> CommandResult {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "probe", &mut script);
    screen.print_bytes(&script)?;
    Ok(Exit::Done)
}
