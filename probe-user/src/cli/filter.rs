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

/// Drop chosen echo packets at an interface, in the kernel.
#[derive(Args, Debug)]
pub struct Filter {
    /// The subcommand.
    #[command(subcommand)]
    pub action: FilterCommand,
}

/// The subcommands of `probe filter`.
#[derive(Debug, Subcommand)]
pub enum FilterCommand {
    /// Add a rule, which stays after this command ends
    Add(Add),
    /// Let echo replies pass only if a request went the other way; stays after this command ends
    Guard(guard::GuardArgs),
    /// List the rules and guards in this network namespace, with what each dropped
    List(List),
    /// Remove one rule by its number, or the guard
    Remove(Remove),
    /// Remove all rules and guards, including probe's programs and maps
    Clear(Clear),
}

/// The flags of `probe filter add`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Add {
    /// Network interface whose packets are filtered
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: String,
    /// Direction of the packets, as seen from this host
    #[arg(long, value_enum, default_value_t)]
    pub direction: DirectionChoice,
    /// The packets that the rule matches.
    #[command(flatten)]
    pub wanted: MatchArgs,
    /// What the rule does with them.
    #[command(flatten)]
    pub done: Done,
    /// Insert the rule before the one with this number [default: append it]
    #[arg(long, value_name = "NUMBER", value_parser = rule_number)]
    pub before: Option<u32>,
    /// Expire the rule after this many seconds; the kernel enforces this even if probe is killed [default: never]
    #[arg(long = "for", value_name = "SECONDS", value_parser = positive_seconds)]
    pub lifetime: Option<Duration>,
    /// Keep running, and remove the rule when this command ends: at once on Ctrl-C, within 5 seconds if it is killed
    #[arg(long)]
    pub until_exit: bool,
    /// Where to filter incoming packets [default: xdp]; outgoing packets are always filtered at tc
    #[arg(long, value_enum, help_heading = "Attaching")]
    pub hook: Option<HookChoice>,
    /// How the kernel programs are attached.
    #[command(flatten)]
    pub attach: AttachArgs,
}

const AFTER_HELP: &str = "\
The first matching rule decides; probe filter list shows the rules in the order in which they are tried. probe does not delay
packets; for that, use tc qdisc add dev IFACE root netem delay.

Examples:
  probe filter add -I eth0 --type reply -e 43 --for 60       drop replies with id 43 for a minute
  probe filter add -I eth0 -S 192.0.2.0/24 --every 3         drop the 3rd, 6th, 9th packet: 333 of 1,000
  probe filter add -I eth0 --type request --rate 100:20      let 100 requests a second pass, up to 20 at once
  probe filter add -I eth0 -e 7 --dry-run --until-exit       only count what would be dropped
  probe filter add -I eth0 -e 7 --inner                      what pods ping, where VXLAN carries it

Exit status: 0 success · 2 failure · 130 a rule with --until-exit was ended by Ctrl-C";

/// The packets that a rule matches.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which packets")]
pub struct MatchArgs {
    /// Match requests, replies, or both [default: both]
    #[arg(long = "type", value_enum)]
    pub kind: Option<KindChoice>,
    /// Echo id or range of ids, e.g. 7, 0x2b or 100-199
    #[arg(short = 'e', long, value_name = "ID[-ID]")]
    pub id: Option<IdRange>,
    /// Sequence number or range of them, e.g. 1 or 1-10
    #[arg(long, value_name = "SEQ[-SEQ]")]
    pub seq: Option<IdRange>,
    /// Source address or prefix, e.g. 192.0.2.7 or 192.0.2.0/24
    #[arg(short = 'S', long, value_name = "PREFIX")]
    pub source: Option<Prefix>,
    /// Destination address or prefix, e.g. 192.0.2.7 or 192.0.2.0/24
    #[arg(short = 'D', long, value_name = "PREFIX")]
    pub destination: Option<Prefix>,
    /// Payload size after the ICMP header, in bytes; for a fragmented packet, that of the first fragment
    #[arg(short = 's', long, value_name = "BYTES[-BYTES]")]
    pub size: Option<IdRange>,
    /// Match echo inside the packets of tunnels (VXLAN, Geneve, GRE, IP in IP), one layer in, and no other; all conditions are for the
    /// packet inside, and the whole packet is dropped
    #[arg(long)]
    pub inner: bool,
    /// Match every echo packet; required if none of the above is given
    #[arg(long, conflicts_with_all = ["id", "seq", "source", "destination", "size"])]
    pub all_echo: bool,
    /// The IP version to match [default: both].
    #[command(flatten)]
    pub family: FamilyChoice,
}

/// What a rule does with the packets that it matches.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "What to do with them [default: drop them all]")]
pub struct Done {
    /// Let them pass, without trying later rules
    #[arg(long, group = "action", conflicts_with = "dry_run")]
    pub pass: bool,
    /// Drop each packet with this probability, e.g. 0.25 or 25%
    #[arg(long, value_name = "P", group = "action")]
    pub probability: Option<Probability>,
    /// Drop every Nth packet
    #[arg(long, value_name = "N", group = "action", value_parser = clap::value_parser!(u64).range(1..))]
    pub every: Option<u64>,
    /// Drop the first N packets
    #[arg(long, value_name = "N", group = "action", value_parser = clap::value_parser!(u64).range(1..))]
    pub first: Option<u64>,
    /// Let the first N packets pass, and drop all later ones
    #[arg(long, value_name = "N", group = "action", value_parser = clap::value_parser!(u64).range(1..))]
    pub after: Option<u64>,
    /// Let PPS packets a second pass, in bursts of up to BURST [default: a tenth of PPS], and drop the rest
    #[arg(long, value_name = "PPS[:BURST]", group = "action")]
    pub rate: Option<Rate>,
    /// Only count what would be dropped; packets go on to the later rules
    #[arg(long)]
    pub dry_run: bool,
}

impl Done {
    /// Returns the action that these flags describe.
    pub fn action(&self) -> RuleAction {
        let counted =
            [self.every.map(RuleAction::Every), self.first.map(RuleAction::First), self.after.map(RuleAction::After)];
        let others = [self.probability.map(RuleAction::Chance), self.rate.map(RuleAction::Rate)];
        let pass = self.pass.then_some(RuleAction::Pass);
        counted.into_iter().chain(others).flatten().next().or(pass).unwrap_or_default()
    }
}

/// The direction of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DirectionChoice {
    /// Packets that enter this host
    #[default]
    In,
    /// Packets that leave this host
    Out,
}

/// Where incoming packets are filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HookChoice {
    /// Before the network stack sees them
    Xdp,
    /// After XDP, which leaves the XDP hook free for another program
    Tc,
}

/// The flags of `probe filter list`.
#[derive(Args, Debug)]
pub struct List {
    /// Only those of this interface
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
}

/// The flags of `probe filter remove`.
#[derive(Args, Debug)]
pub struct Remove {
    /// Number of the rule as shown by `probe filter list`, or guard
    #[arg(value_name = "NUMBER|guard", value_parser = which)]
    pub which: Which,
    /// Interface of the rule or guard; needed only if several interfaces have one with that number
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

/// The flags of `probe filter clear`.
#[derive(Args, Debug)]
pub struct Clear {
    /// Only those of this interface
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
}

/// The type of echo packets that a rule matches.
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
