//! `probe lab`.

use std::ffi::OsString;

use clap::{Args, Subcommand, ValueEnum};

use super::send::FamilyChoice;
use crate::middlebox::datasheet::Fact;

/// Two hosts and a stateful firewall between them, in network namespaces of this machine.
///
/// Without an action: run the four experiments, say what each teaches, and leave nothing behind.
#[derive(Args, Debug)]
pub struct Lab {
    /// What to do instead of running the experiments.
    #[command(subcommand)]
    pub action: Option<LabCommand>,
    /// Only these experiments [default: all four]
    #[arg(value_enum)]
    pub experiments: Vec<LabExperiment>,
}

/// What to do with the lab.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Set the lab up and leave it, to play with
    Up,
    /// Take the lab away
    Down,
    /// Run a command on one of its hosts
    Exec(Exec),
    /// Break one thing after the other, diagnose each, and count how many are located
    Faults(FaultsArgs),
    /// Characterise boxes of which everything is known, and count how many facts come out right
    Characterize(ModelsArgs),
}

/// Which models to characterise.
#[derive(Args, Debug)]
#[command(after_help = MODELS_HELP)]
pub struct ModelsArgs {
    /// Only these: names, their beginnings, or patterns with * and ? [default: all]
    pub models: Vec<String>,
    /// Print the models and what is true of each, and do nothing
    #[arg(long)]
    pub list: bool,
    /// Only what takes less than 15 seconds each: is there state, what is it keyed on, how many replies
    #[arg(long, conflicts_with = "only")]
    pub quick: bool,
    /// Only this fact, and those that it builds on (may be given more than once)
    #[arg(long, value_name = "FACT")]
    pub only: Vec<Fact>,
    /// How many to characterise at once [default: twice as many as there are processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub at_once: Option<u16>,
    /// Print every datasheet in full, too
    #[arg(long)]
    pub datasheets: bool,
    /// Only one IP version [default: both].
    #[command(flatten)]
    pub family: FamilyChoice,
}

const MODELS_HELP: &str = "\
Each model has a lab of its own, which goes with it; nothing outside is touched. A right time is within 0.25 s.

Examples:
  probe lab characterize                        all of them: some minutes
  probe lab characterize --list                 what they are, and what is true of them
  probe lab characterize masquerade -4          one model, over IPv4
  probe lab characterize 'conntrack-*' --quick  some, without the timeouts

Exit status: 0 every fact came out right · 1 not all · 2 no lab could be made · 130 interrupted";

/// Which faults to try.
#[derive(Args, Debug)]
#[command(after_help = FAULTS_HELP)]
pub struct FaultsArgs {
    /// Only these: names, their beginnings, or patterns with * and ? [default: all]
    pub names: Vec<String>,
    /// Print the faults and what a diagnosis must say of each, and do nothing
    #[arg(long)]
    pub list: bool,
    /// Print what went wrong and the score by place, without a line for each case
    #[arg(long)]
    pub summary: bool,
    /// Only one IP version [default: both].
    #[command(flatten)]
    pub family: FamilyChoice,
}

const FAULTS_HELP: &str = "\
Each case has a lab of its own, which goes with it; nothing outside is touched.

Examples:
  probe lab faults                       the whole catalogue
  probe lab faults --list                what is in it
  probe lab faults --summary             the score alone
  probe lab faults peer-nft-input -4     one fault, over IPv4
  probe lab faults healthy '*-nft-*'     by beginning and by pattern

Exit status: 0 all located, and no false stop · 1 not all · 2 no lab could be made · 130 interrupted";

/// A command to run on a host of the lab.
#[derive(Args, Debug)]
pub struct Exec {
    /// On which host
    #[arg(value_enum)]
    pub host: HostChoice,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// The hosts of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HostChoice {
    /// The host inside the firewall
    A,
    /// The firewall
    Fw,
    /// The host outside
    B,
}

/// The experiments of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LabExperiment {
    /// A request, and the reply to it
    Normal,
    /// A reply that nobody asked for
    ReplyOnly,
    /// One request, several replies
    ManyReplies,
    /// A request with one id, a reply with another
    IdMismatch,
}
