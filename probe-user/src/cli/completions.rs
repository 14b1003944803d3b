//! `probe completions`.

use clap::Args;
use clap_complete::Shell;

/// Print the completions of a shell, from the same definitions that parse the command line.
///
/// For example: probe completions fish > ~/.config/fish/completions/probe.fish
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell that will read them
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}
