//! The two ends of an experiment, as typed.

use std::net::IpAddr;

use super::attach::AttachArgs;
use clap::Args;

use super::send::FamilyChoice;

/// The far end, and the way there.
#[derive(Args, Clone, Debug)]
pub struct TwoEnds {
    /// A command whose stdin and stdout reach a `probe agent` on the far host
    #[arg(long, value_name = "CMD", help_heading = "The far host")]
    pub peer: Option<String>,
    /// CMD is only the start of a command, such as 'ssh b sudo': take this very program there, run it, leave nothing
    #[arg(long, requires = "peer", help_heading = "The far host")]
    pub deploy: bool,
    /// The source address; it must be one of this host's
    #[arg(short = 'S', long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// The interface that the route to the target must leave by [default: whichever it does]
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
    /// Which IP version to use where the target's name has both.
    #[command(flatten)]
    pub family: FamilyChoice,
    /// Where to attach on this host; the far host's agent has its own flags.
    #[command(flatten)]
    pub attach: AttachArgs,
}
