//! `probe observe`.

use std::time::Duration;

use super::attach::AttachArgs;
use clap::Args;

use super::values::positive_seconds;
use crate::model::ids::IdRange;

/// Count what crosses one interface, by id, without touching it.
#[derive(Args, Debug)]
pub struct Observe {
    /// The network interface to watch
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: String,
    /// Show only these ids, e.g. 7, 0x2b or 100-199 (may be given more than once)
    #[arg(short = 'e', long = "id", value_name = "ID[-ID]")]
    pub ids: Vec<IdRange>,
    /// Seconds between two refreshes
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = positive_seconds)]
    pub interval: Duration,
    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    pub duration: Option<Duration>,
    /// Watch for one interval (or for --duration), print once, and stop
    #[arg(long)]
    pub once: bool,
    /// A request without an answer after this many seconds is lost
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "2", value_parser = positive_seconds)]
    pub timeout: Duration,
    /// Count only: no addresses, no RTT, no loss (the cheapest way to watch)
    #[arg(long)]
    pub counts_only: bool,
    #[command(flatten)]
    /// Where to attach.
    pub attach: AttachArgs,
}
