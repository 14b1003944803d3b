//! `probe filter`.

pub mod guard;

use std::time::Duration;

use crate::{attach::XdpChoice, ids::IdRange};
use clap::{ArgGroup, Args, Subcommand, ValueEnum};

use super::{send::FamilyChoice, values::positive_seconds};

/// Drop echo packets by type, id and family at an interface's XDP ingress.
#[derive(Args, Debug)]
pub struct Filter {
    /// What to do with the rules.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with the rules.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Add a rule; it outlives this command
    Add(Add),
    /// Let echo replies pass only where a request went the other way; outlives this command
    Guard(guard::Guard),
    /// Show the rules and guards of this network namespace, with what each dropped
    List(List),
    /// Remove one rule by its number, or a guard
    Remove(Remove),
    /// Remove every rule and guard, and probe's programs and maps with them
    Clear(Clear),
}

/// A new rule.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("which").required(true)))]
pub struct Add {
    /// The network interface whose incoming packets are dropped
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: String,
    /// Which echo packets
    #[arg(long = "type", value_enum, default_value_t)]
    pub kind: KindChoice,
    /// Which ids, e.g. 7, 0x2b or 100-199
    #[arg(short = 'e', long, value_name = "ID[-ID]", group = "which")]
    pub id: Option<IdRange>,
    /// Every id: this host no longer takes part in ping through this interface
    #[arg(long, group = "which")]
    pub all_echo: bool,
    /// End the rule after this many seconds; the kernel does that, also if probe is killed
    #[arg(long = "for", value_name = "SECONDS", value_parser = positive_seconds)]
    pub lifetime: Option<Duration>,
    /// Which IP version [default: both].
    #[command(flatten)]
    pub family: FamilyChoice,
    /// How to attach XDP; auto never resets a link
    #[arg(long, value_enum, default_value_t, help_heading = "Attaching")]
    pub xdp: XdpChoice,
}

/// Which rules to show.
#[derive(Args, Debug)]
pub struct List {
    /// Only those of this interface
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
}

/// Which rule to remove.
#[derive(Args, Debug)]
pub struct Remove {
    /// The rule's number in `probe filter list`, or the word guard
    #[arg(value_name = "NUMBER|guard", value_parser = which)]
    pub which: Which,
    /// The interface it is on; needed only where several interfaces have a rule of that number, or a guard
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
}

/// What to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The rule with this number.
    Rule(u32),
    /// The guard.
    Guard,
}

fn which(text: &str) -> Result<Which, String> {
    if text == "guard" {
        return Ok(Which::Guard);
    }
    let number = text.parse().ok().filter(|number| *number > 0).map(Which::Rule);
    number.ok_or_else(|| format!("'{text}' is not the number of a rule; probe filter list shows them"))
}

/// Which rules to remove.
#[derive(Args, Debug)]
pub struct Clear {
    /// Only those of this interface
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
}

/// Which echo packets a rule drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum KindChoice {
    /// Echo requests
    Request,
    /// Echo replies
    Reply,
    /// Both
    #[default]
    Both,
}
