//! `probe lab`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::send::FamilyChoice;
use crate::middlebox::datasheet::Fact;

/// Try probe with two hosts and a stateful firewall between them, in network namespaces on this machine.
///
/// Without a subcommand: runs the four experiments, says what each one shows, and cleans up.
#[derive(Args, Debug)]
pub struct Lab {
    /// The subcommand, if not just the experiments are to run.
    #[command(subcommand)]
    pub action: Option<LabCommand>,
    /// Run only these experiments [default: all four]
    #[arg(value_enum)]
    pub experiments: Vec<LabExperiment>,
}

/// The subcommands of `probe lab`.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Set up the lab and leave it running
    Up,
    /// Remove the lab
    Down,
    /// Run a command on one of the lab's hosts
    Exec(Exec),
    /// Inject known faults one at a time, diagnose each, and count how many are located
    Faults(FaultsArgs),
    /// Characterize model firewalls with known behavior, and count how many facts come out right
    Characterize(ModelsArgs),
}

/// The flags of `probe lab characterize`.
#[derive(Args, Debug)]
#[command(after_help = MODELS_HELP)]
pub struct ModelsArgs {
    /// Models to run: names, prefixes of names, or patterns with * and ? [default: all]
    pub models: Vec<String>,
    /// List the models and the facts that are true for each, and exit
    #[arg(long)]
    pub list: bool,
    /// Test only what takes less than 15 seconds per model: whether there is state, its key, and how many replies pass
    #[arg(long, conflicts_with = "only")]
    pub quick: bool,
    /// Test only this fact and the ones it builds on (may be given more than once)
    #[arg(long, value_name = "FACT")]
    pub only: Vec<Fact>,
    /// Number of models to run at the same time, 1 to 64 [default: twice the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub at_once: Option<u16>,
    /// Also print every datasheet in full
    #[arg(long)]
    pub datasheets: bool,
    /// The IP version to test [default: both].
    #[command(flatten)]
    pub family: FamilyChoice,
}

const MODELS_HELP: &str = "\
Each model runs in its own lab, which is removed afterwards; nothing outside it is touched. A timeout counts as right if it
is within 0.25 s.

Examples:
  probe lab characterize                        all of them; takes some minutes
  probe lab characterize --list                 what they are, and what is true for them
  probe lab characterize masquerade -4          one model, over IPv4
  probe lab characterize 'conntrack-*' --quick  some, without the timeouts

Exit status: 0 every fact came out right · 1 some did not · 2 could not set up a lab · 130 interrupted";

/// The flags of `probe lab faults`.
#[derive(Args, Debug)]
#[command(after_help = FAULTS_HELP)]
pub struct FaultsArgs {
    /// Faults to inject: names, prefixes of names, or patterns with * and ? [default: all]
    pub names: Vec<String>,
    /// List the faults and the verdict that is expected for each, and exit
    #[arg(long)]
    pub list: bool,
    /// Print only failures and the score by place, not a line for each case
    #[arg(long)]
    pub summary: bool,
    /// Run ping with the same flags behind each diagnosis, and count how often both were answered alike
    #[arg(long)]
    pub with_ping: bool,
    /// Take the cases from this scene file (TOML) instead of the built-in ones (may be given more than once)
    #[arg(long = "scene", value_name = "FILE")]
    pub scenes: Vec<PathBuf>,
    /// The IP version to test [default: both].
    #[command(flatten)]
    pub family: FamilyChoice,
}

const FAULTS_HELP: &str = "\
Each case runs in its own lab, which is removed afterwards; nothing outside it is touched.

Examples:
  probe lab faults                       the whole catalogue
  probe lab faults --list                what is in it
  probe lab faults --summary             only the score
  probe lab faults peer-nft-input -4     one fault, over IPv4
  probe lab faults healthy '*-nft-*'     by prefix and by pattern
  probe lab faults --scene my.toml       a network of your own, and what breaks it
  probe lab faults --with-ping           is ping answered where probe is, and as often?

Exit status: 0 all located, no false alarm, and all like ping · 1 not all · 2 could not set up a lab · 130 interrupted";

/// A command to run on a host of the lab.
#[derive(Args, Debug)]
pub struct Exec {
    /// Host to run it on
    #[arg(value_enum)]
    pub host: HostChoice,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// The hosts of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HostChoice {
    /// The host behind the firewall
    A,
    /// The firewall
    Fw,
    /// The host outside the firewall
    B,
}

/// The experiments of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LabExperiment {
    /// A request, and the reply to it
    Normal,
    /// An unsolicited reply
    ReplyOnly,
    /// One request, several replies
    ManyReplies,
    /// A request with one id, a reply with another
    IdMismatch,
}
