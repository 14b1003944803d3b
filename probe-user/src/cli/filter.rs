//! `probe filter`.

pub mod guard;

use std::time::Duration;

use super::attach::AttachArgs;
use clap::{Args, Subcommand, ValueEnum};

use crate::{
    filter::rules::{
        RuleAction,
        action::{Probability, Rate},
    },
    model::{ids::IdRange, prefix::Prefix},
};

use super::{send::FamilyChoice, values::positive_seconds};

/// Drop chosen echo packets at an interface, in the kernel, for as long as wanted.
#[derive(Args, Debug)]
pub struct Filter {
    /// What to do with the rules.
    #[command(subcommand)]
    pub action: FilterCommand,
}

/// What to do with the rules.
#[derive(Debug, Subcommand)]
pub enum FilterCommand {
    /// Add a rule; it outlives this command
    Add(Add),
    /// Let echo replies pass only where a request went the other way; outlives this command
    Guard(guard::GuardArgs),
    /// Show the rules and guards of this network namespace, with what each dropped
    List(List),
    /// Remove one rule by its number, or a guard
    Remove(Remove),
    /// Remove every rule and guard, and probe's programs and maps with them
    Clear(Clear),
}

/// A new rule.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Add {
    /// The network interface whose packets are filtered
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: String,
    /// Which way they go, as the interface sees it
    #[arg(long, value_enum, default_value_t)]
    pub direction: DirectionChoice,
    /// Which packets.
    #[command(flatten)]
    pub wanted: MatchArgs,
    /// What is done with them.
    #[command(flatten)]
    pub done: Done,
    /// Put the rule before the one with this number [default: behind all others]
    #[arg(long, value_name = "NUMBER", value_parser = rule_number)]
    pub before: Option<u32>,
    /// End the rule after this many seconds; the kernel does that, also if probe is killed
    #[arg(long = "for", value_name = "SECONDS", value_parser = positive_seconds)]
    pub lifetime: Option<Duration>,
    /// Stay, and end the rule with this command: at once on Ctrl-C, within five seconds if it is killed
    #[arg(long)]
    pub until_exit: bool,
    /// Where incoming packets are filtered [default: xdp]; outgoing ones always are at tc
    #[arg(long, value_enum, help_heading = "Attaching")]
    pub hook: Option<HookChoice>,
    /// How to attach there.
    #[command(flatten)]
    pub attach: AttachArgs,
}

const AFTER_HELP: &str = "\
The first rule that matches holds; probe filter list shows them in the order in which they are asked. Delaying packets is
not probe's to do: tc qdisc add dev IFACE root netem delay does it.

Examples:
  probe filter add -I eth0 --type reply -e 43 --for 60       no reply with id 43 for a minute
  probe filter add -I eth0 -S 192.0.2.0/24 --every 3         the 3rd, 6th, 9th packet: of 1,000 it drops 333
  probe filter add -I eth0 --type request --rate 100:20      100 requests a second pass, 20 at once
  probe filter add -I eth0 -e 7 --dry-run --until-exit       how many would it be?

Exit status: 0 done · 2 it could not be · 130 a rule with --until-exit ended by Ctrl-C";

/// Which packets a rule matches.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which packets")]
pub struct MatchArgs {
    /// Requests, replies, or both [default: both]
    #[arg(long = "type", value_enum)]
    pub kind: Option<KindChoice>,
    /// Which ids, e.g. 7, 0x2b or 100-199
    #[arg(short = 'e', long, value_name = "ID[-ID]")]
    pub id: Option<IdRange>,
    /// Which sequence numbers
    #[arg(long, value_name = "SEQ[-SEQ]")]
    pub seq: Option<IdRange>,
    /// Source address or prefix, e.g. 192.0.2.7 or 192.0.2.0/24
    #[arg(short = 'S', long, value_name = "PREFIX")]
    pub source: Option<Prefix>,
    /// Destination address or prefix
    #[arg(short = 'D', long, value_name = "PREFIX")]
    pub destination: Option<Prefix>,
    /// Payload bytes, those behind the ICMP header; of a fragmented packet those of its first fragment
    #[arg(short = 's', long, value_name = "BYTES[-BYTES]")]
    pub size: Option<IdRange>,
    /// Every echo packet: without any of the above, this must be said
    #[arg(long, conflicts_with_all = ["id", "seq", "source", "destination", "size"])]
    pub all_echo: bool,
    /// Which IP version [default: both].
    #[command(flatten)]
    pub family: FamilyChoice,
}

/// What a rule does with the packets that it matches.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What is done with them [default: they are dropped]")]
pub struct Done {
    /// Let them pass: the rules behind this one do not see them
    #[arg(long, group = "action", conflicts_with = "dry_run")]
    pub pass: bool,
    /// Drop with this probability, e.g. 0.25 or 25%
    #[arg(long, value_name = "P", group = "action")]
    pub probability: Option<Probability>,
    /// Drop the Nth, the 2Nth and so on
    #[arg(long, value_name = "N", group = "action", value_parser = clap::value_parser!(u64).range(1..))]
    pub every: Option<u64>,
    /// Drop the first N
    #[arg(long, value_name = "N", group = "action", value_parser = clap::value_parser!(u64).range(1..))]
    pub first: Option<u64>,
    /// Let the first N pass, drop what follows
    #[arg(long, value_name = "N", group = "action", value_parser = clap::value_parser!(u64).range(1..))]
    pub after: Option<u64>,
    /// Let so many a second pass, BURST at once [default: a tenth of PPS], and drop the rest
    #[arg(long, value_name = "PPS[:BURST]", group = "action")]
    pub rate: Option<Rate>,
    /// Drop nothing, only count what would be dropped; the packets meet the rules behind this one
    #[arg(long)]
    pub dry_run: bool,
}

impl Done {
    /// As an action.
    pub fn action(&self) -> RuleAction {
        let counted =
            [self.every.map(RuleAction::Every), self.first.map(RuleAction::First), self.after.map(RuleAction::After)];
        let others = [self.probability.map(RuleAction::Chance), self.rate.map(RuleAction::Rate)];
        let pass = self.pass.then_some(RuleAction::Pass);
        counted.into_iter().chain(others).flatten().next().or(pass).unwrap_or_default()
    }
}

/// Which way packets go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DirectionChoice {
    /// They enter this host
    #[default]
    In,
    /// They leave it
    Out,
}

/// Where incoming packets are filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HookChoice {
    /// Before the kernel makes anything of them
    Xdp,
    /// Behind XDP, which somebody else may then have
    Tc,
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
    rule_number(text).map(Which::Rule)
}

fn rule_number(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("'{text}' is not the number of a rule; probe filter list shows them"))
}

/// Which rules to remove.
#[derive(Args, Debug)]
pub struct Clear {
    /// Only those of this interface
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
}

/// Which echo packets a rule matches.
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
