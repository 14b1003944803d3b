//! `probe observe`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::values::{IdRange, positive_seconds};

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
    pub attach: Attach,
}

/// Which kernel hooks a command attaches to.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// How to attach XDP; auto never resets a link and falls back to tc
    #[arg(long, value_enum, default_value_t, help_heading = "Attaching")]
    pub xdp: XdpChoice,
    /// How to attach to tc: TCX links (Linux 6.6 and later) or a clsact qdisc
    #[arg(long, value_enum, default_value_t, help_heading = "Attaching")]
    pub tc: TcChoice,
}

/// How XDP is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum XdpChoice {
    /// The mode that disturbs this interface least, or none
    #[default]
    Auto,
    /// In the driver; may reset the link of some network cards
    Native,
    /// In the kernel's receive path, for any driver
    Generic,
    /// Not at all: tc ingress is used instead
    Off,
}

/// How tc programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcChoice {
    /// TCX where the kernel has it, else clsact
    #[default]
    Auto,
    /// A TCX link (Linux 6.6 and later): goes away with the process
    Tcx,
    /// A filter on a clsact qdisc, as kernels before 6.6 need
    Clsact,
}
