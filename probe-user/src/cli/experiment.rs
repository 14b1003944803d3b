//! `probe experiment`.

use clap::Args;

use super::ends::TwoEnds;

/// Send what a script says from both ends, and say what that shows of the way between.
///
/// Neither kernel answers meanwhile: both ends keep the experiment's own packets, and no others, from their kernels, and
/// count them where they enter the NIC. Each repetition uses fresh ids; the repetitions are interleaved, and vote.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ExperimentArgs {
    /// An experiment that probe brings along (--list names them), or a file
    #[arg(value_name = "NAME|FILE", required_unless_present_any = ["list", "print"])]
    pub experiment: Option<String>,
    /// The far host: a name or an address; link-local IPv6 with %IFACE behind it
    #[arg(required_unless_present_any = ["list", "print"])]
    pub target: Option<String>,
    /// The far end, and the way there.
    #[command(flatten)]
    pub ends: TwoEnds,
    /// How often to make it [default: what the script says, mostly 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=20))]
    pub repeat: Option<u16>,
    /// Name the experiments that probe brings along, and do nothing
    #[arg(long, conflicts_with_all = ["print", "experiment"])]
    pub list: bool,
    /// Print one of them as a file, to change and to run, and do nothing
    #[arg(long, value_name = "NAME", conflicts_with = "experiment")]
    pub print: Option<String>,
}

const AFTER_HELP: &str = "\
Examples:
  probe experiment id-mismatch b --peer 'ssh b sudo probe agent'
  probe experiment --print timeout-expiry > mine.toml               a file to start from
  probe experiment mine.toml b --peer 'ssh b sudo probe agent'

Exit status: 0 every step came out as the script expects · 1 not every one ·
2 could not measure · 130 interrupted, with what was learned";
