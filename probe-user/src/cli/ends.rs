//! The flags that describe the two ends of an experiment.

use std::net::IpAddr;

use super::attach::AttachArgs;
use clap::Args;

use super::send::FamilyChoice;

/// The far end and the path to it.
#[derive(Args, Clone, Debug)]
pub struct TwoEnds {
    /// Command that starts `probe agent` on the far host and connects to its stdin and stdout
    #[arg(long, value_name = "CMD", help_heading = "The far host")]
    pub peer: Option<String>,
    /// Copy this program to the far host, run it there and remove it; CMD is then only a prefix, such as 'ssh b sudo'
    #[arg(long, requires = "peer", help_heading = "The far host")]
    pub deploy: bool,
    /// Source address, which must belong to this host [default: chosen by the route]
    #[arg(short = 'S', long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// Require that the route to the target leaves through this interface [default: any]
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
    /// The IP version to use if the target's name has both.
    #[command(flatten)]
    pub family: FamilyChoice,
    /// How the kernel programs are attached on this host; the agent on the far host has its own flags.
    #[command(flatten)]
    pub attach: AttachArgs,
}
