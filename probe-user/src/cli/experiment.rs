//! `probe experiment`.

use clap::Args;

use super::ends::TwoEnds;

/// Send packets from both ends as a script says, and report what that shows about the path between them.
///
/// Neither kernel answers meanwhile: both ends hide the packets of the experiment, and no others, from their kernels, and
/// count them as they enter the NIC. Each repetition uses fresh ids. The repetitions are interleaved, and the majority
/// decides.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ExperimentArgs {
    /// A built-in experiment (see --list) or a script file
    #[arg(value_name = "NAME|FILE", required_unless_present_any = ["list", "print"])]
    pub experiment: Option<String>,
    /// Far host, as a name or an IP address (link-local IPv6 as ADDRESS%IFACE)
    #[arg(required_unless_present_any = ["list", "print"])]
    pub target: Option<String>,
    /// The far end and the path to it.
    #[command(flatten)]
    pub ends: TwoEnds,
    /// Number of repetitions, 1 to 20 [default: as the script says, usually 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=20))]
    pub repeat: Option<u16>,
    /// List the built-in experiments and exit
    #[arg(long, conflicts_with_all = ["print", "experiment"])]
    pub list: bool,
    /// Print the script of a built-in experiment, as a start for your own, and exit
    #[arg(long, value_name = "NAME", conflicts_with = "experiment")]
    pub print: Option<String>,
}

const AFTER_HELP: &str = "\
Examples:
  probe experiment id-mismatch b --peer 'ssh b sudo probe agent'
  probe experiment --print timeout-expiry > mine.toml               a file to start from
  probe experiment mine.toml b --peer 'ssh b sudo probe agent'

Exit status: 0 every step came out as the script expects · 1 some did not ·
2 could not measure · 130 interrupted; what was learned so far is printed";
