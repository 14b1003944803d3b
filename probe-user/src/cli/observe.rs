//! `probe observe`.

use std::time::Duration;

use super::attach::AttachArgs;
use clap::Args;

use super::{place::PlaceArgs, values::positive_seconds};
use crate::model::ids::IdRange;

/// Count the echo packets that cross one interface, by id, without changing them.
#[derive(Args, Debug)]
pub struct Observe {
    /// Network interface to watch
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: String,
    /// Show only these echo ids, e.g. 7, 0x2b or 100-199 (may be given more than once)
    #[arg(short = 'e', long = "id", value_name = "ID[-ID]")]
    pub ids: Vec<IdRange>,
    /// Time between refreshes, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = positive_seconds)]
    pub interval: Duration,
    /// Stop after this many seconds [default: run until Ctrl-C]
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    pub duration: Option<Duration>,
    /// Watch for one interval (or for --duration), print once and exit
    #[arg(long)]
    pub once: bool,
    /// Count a request as lost if no reply came within this many seconds
    #[arg(short = 'W', long, value_name = "SECONDS", default_value = "2", value_parser = positive_seconds)]
    pub timeout: Duration,
    /// Count packets only, without addresses, RTT or loss; the cheapest way to watch
    #[arg(long)]
    pub counts_only: bool,
    /// Count echo inside the packets of tunnels (VXLAN, Geneve, GRE, IP in IP) too, one layer in, by its own id and addresses
    #[arg(long)]
    pub inner: bool,
    #[command(flatten)]
    /// The network namespace to work in.
    pub place: PlaceArgs,
    #[command(flatten)]
    /// How the kernel programs are attached.
    pub attach: AttachArgs,
}
