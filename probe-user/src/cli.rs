//! What a person types: the clap types of every verb, and nothing that acts on them.

pub mod agent;
pub mod attach;
pub mod characterize;
pub mod diagnose;
pub mod doctor;
pub mod ends;
pub mod experiment;
pub mod filter;
pub mod lab;
pub mod observe;
pub mod receive;
pub mod schema;
pub mod send;
pub mod values;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::report::Format;

/// My ping does not come back: where exactly does it stop?
///
/// probe watches ICMP echo (ping) at every hop of the kernel, here and on a far host, and says where it stops. It sends any
/// echo packet, drops chosen ones on purpose, and finds out what a stateful firewall remembers of them.
#[derive(Debug, Parser)]
#[command(name = "probe", version, propagate_version = true, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

const AFTER_HELP: &str =
    "Exit status: 0 done · 1 measured, and the traffic stops · 2 could not measure · 130 interrupted";

/// The verbs of probe.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Say exactly where my echo packets stop
    Diagnose(diagnose::DiagnoseArgs),
    /// Show which ICMP echo crosses a network interface right now, per id, with loss and RTT
    Observe(observe::Observe),
    /// Send echo requests, or replies that nobody asked for
    Send(send::Send),
    /// Print each echo packet that arrives at this host
    Receive(receive::Receive),
    /// Drop chosen echo packets where they enter or leave this host, by rules or as a stateful firewall does
    Filter(filter::Filter),
    /// Send what a script says from both ends, and say what that shows of the way between
    Experiment(experiment::ExperimentArgs),
    /// Find out what a stateful box on the way remembers of a ping, and for how long
    Characterize(characterize::Characterize),
    /// Try it on this machine alone: two hosts and a stateful firewall in network namespaces
    Lab(lab::Lab),
    /// Be the far end of diagnose, experiment and characterize, on stdin and stdout
    Agent(agent::AgentArgs),
    /// Say what works on this machine, what does not, and what mends it
    Doctor(doctor::Doctor),
    /// Print the JSON Schema of a document that probe prints
    Schema(schema::Schema),
}

/// Flags that every verb has.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Print for people (text) or for machines (json)
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Output")]
    pub format: Format,
    /// Print the result only, no progress and no remarks
    #[arg(short, long, global = true, help_heading = "Output")]
    pub quiet: bool,
    /// Say more: on stderr, and in the report of diagnose what watching cost; -vv turns on the log of the kernel programs
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
}
