//! What a person types: the clap types of every verb, and nothing that acts on them.

pub mod agent;
pub mod as_ping;
pub mod attach;
pub mod characterize;
pub mod completions;
pub mod diagnose;
pub mod doctor;
pub mod ends;
pub mod experiment;
pub mod filter;
pub mod lab;
pub mod man;
pub mod observe;
pub mod place;
pub mod receive;
pub mod run;
pub mod schema;
pub mod send;
pub mod values;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::report::Format;

/// My ping does not come back: where exactly does it stop?
///
/// probe watches ICMP echo (ping) at every hop of the kernel, here and on a far host, and says where it stops. It can also
/// send any echo packet, drop chosen ones on purpose, and find out what state a firewall on the path keeps for them.
#[derive(Debug, Parser)]
#[command(name = "probe", version = VERSION, propagate_version = true, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub verb: Verb,
    /// How output is printed.
    #[command(flatten)]
    pub output: Output,
}

/// The version, with the commit where a release was made from one (`cargo xtask dist`).
pub const VERSION: &str = match option_env!("PROBE_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

const AFTER_HELP: &str =
    "Exit status: 0 success · 1 measured, and traffic is lost · 2 could not measure · 130 interrupted";

/// The verbs of probe.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Find out exactly where echo packets stop
    Diagnose(diagnose::DiagnoseArgs),
    /// Run a command that pings, and find out where its echo packets stop
    Run(run::RunArgs),
    /// Show the ICMP echo traffic of a network interface live, per id, with loss and RTT
    Observe(observe::Observe),
    /// Send echo requests or unsolicited echo replies
    Send(send::Send),
    /// Print each echo packet that arrives at this host
    Receive(receive::Receive),
    /// Drop chosen echo packets as they enter or leave this host, by rules or like a stateful firewall
    Filter(filter::Filter),
    /// Send packets from both ends as a script says, and report what that shows about the path
    Experiment(experiment::ExperimentArgs),
    /// Find out what state a firewall or NAT on the path keeps for a ping, and for how long
    Characterize(characterize::Characterize),
    /// Try probe on this machine alone: two hosts and a stateful firewall in network namespaces
    Lab(lab::Lab),
    /// Run as the far end of diagnose, experiment and characterize, over stdin and stdout
    Agent(agent::AgentArgs),
    /// Check what works on this machine, and how to fix what does not
    Doctor(doctor::Doctor),
    /// Print the JSON Schema of a document that probe prints with --format json
    Schema(schema::Schema),
    /// Print the completions of a shell: bash, zsh, fish, elvish or powershell
    Completions(completions::Completions),
    /// Print a man page of probe or of one of its verbs
    Man(man::Man),
}

/// Flags that every command has.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Output format: text for people, json for programs
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Output")]
    pub format: Format,
    /// Print only the result, without progress or notes
    #[arg(short, long, global = true, help_heading = "Output")]
    pub quiet: bool,
    /// Print more detail on stderr, and what watching cost in the report of diagnose; -vv also logs the kernel programs
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
}
