//! `probe characterize`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{ends::TwoEnds, values::positive_seconds};
use crate::middlebox::datasheet::Fact;

/// Find out what a stateful box between two hosts remembers of a ping: by which fields, how long, how many replies.
///
/// Both ends send marked packets with ids that nobody uses, and keep just these from their kernels. Every trial runs
/// beside controls that must pass and must not, three times at least; what the votes do not carry is not concluded.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Characterize {
    /// The far host: a name or an address; link-local IPv6 with %IFACE behind it
    #[arg(required_unless_present_any = ["compare", "explain"])]
    pub target: Option<String>,
    /// The far end, and the way there.
    #[command(flatten)]
    pub ends: TwoEnds,
    /// Only what takes less than 15 seconds: is there state, what is it keyed on, how many replies
    #[arg(long, conflicts_with_all = ["full", "only"], help_heading = "How much")]
    pub quick: bool,
    /// Look for timeouts of up to 15 minutes, not only of up to 2
    #[arg(long, help_heading = "How much")]
    pub full: bool,
    /// Only this fact, and those that it builds on (may be given more than once): see --explain
    #[arg(long, value_name = "FACT", help_heading = "How much")]
    pub only: Vec<Fact>,
    /// The longest timeout to look for [default: 120, with --full 900]
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds, help_heading = "How much")]
    pub longest: Option<Duration>,
    /// Packets a second at most, both ends together
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(5..=500),
          help_heading = "How much")]
    pub rate: u32,
    /// Compare two datasheets that were printed with --format json, and do nothing else
    #[arg(long, value_names = ["A.json", "B.json"], num_args = 2, conflicts_with_all = ["target", "explain"],
          help_heading = "Instead")]
    pub compare: Option<Vec<PathBuf>>,
    /// Say what a fact means and how it is found out, and do nothing else; without a name, say it of all
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
130 interrupted, with what was learned";
