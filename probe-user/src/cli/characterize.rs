//! `probe characterize`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{ends::TwoEnds, values::positive_seconds};
use crate::middlebox::datasheet::Fact;

/// Find out what state a firewall or NAT between two hosts keeps for a ping: its key, its timeouts, how many replies pass.
///
/// Both ends send marked packets with unused echo ids, and hide only these packets from their kernels. Every trial runs
/// at least three times, alongside controls that must pass and controls that must not. If the results are not clear
/// enough, the fact is reported as not known.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Characterize {
    /// Far host, as a name or an IP address (link-local IPv6 as ADDRESS%IFACE)
    #[arg(required_unless_present_any = ["compare", "explain"])]
    pub target: Option<String>,
    /// The far end and the path to it.
    #[command(flatten)]
    pub ends: TwoEnds,
    /// Test only what takes less than 15 seconds: whether there is state, its key, and how many replies pass
    #[arg(long, conflicts_with_all = ["full", "only"], help_heading = "How much")]
    pub quick: bool,
    /// Look for timeouts of up to 15 minutes instead of 2
    #[arg(long, help_heading = "How much")]
    pub full: bool,
    /// Test only this fact and the ones it builds on (may be given more than once); --explain lists the facts
    #[arg(long, value_name = "FACT", help_heading = "How much")]
    pub only: Vec<Fact>,
    /// Longest timeout to look for, in seconds [default: 120, or 900 with --full]
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds, help_heading = "How much")]
    pub longest: Option<Duration>,
    /// Maximum packets per second, both ends together (5 to 500)
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(5..=500),
          help_heading = "How much")]
    pub rate: u32,
    /// Compare two datasheets saved with --format json, and exit
    #[arg(long, value_names = ["A.json", "B.json"], num_args = 2, conflicts_with_all = ["target", "explain"],
          help_heading = "Instead")]
    pub compare: Option<Vec<PathBuf>>,
    /// Explain what a fact means and how it is tested, and exit; without FACT, explain them all
    #[arg(long, value_name = "FACT", num_args = 0..=1, conflicts_with = "target", help_heading = "Instead")]
    pub explain: Option<Option<Fact>>,
}

const AFTER_HELP: &str = "\
Examples:
  probe characterize b --peer 'ssh b sudo probe agent' --quick
  probe characterize b --peer 'ssh b sudo probe agent' --format json > box.json
  probe characterize --compare yesterday.json box.json
  probe characterize --explain timeout

Exit status: 0 every question was answered · 1 some were not · 2 could not measure ·
130 interrupted; what was learned so far is printed";
