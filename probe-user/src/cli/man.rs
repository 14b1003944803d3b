//! `probe man`.

use std::path::PathBuf;

use clap::Args;

/// Print a man page, from the same definitions that parse the command line.
///
/// Without a verb: that of probe itself. To read one: probe man diagnose | man -l -
#[derive(Args, Debug)]
pub struct Man {
    /// The verb, and the verb below it, such as `filter add`
    #[arg(value_name = "VERB", conflicts_with = "all")]
    pub verb: Vec<String>,
    /// Write the pages of all verbs into this folder, which is made
    #[arg(long, value_name = "FOLDER")]
    pub all: Option<PathBuf>,
}
