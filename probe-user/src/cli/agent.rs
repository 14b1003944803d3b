//! `probe agent`.

use super::attach::AttachArgs;
use clap::Args;

/// Be the far end of `probe diagnose`: speak its protocol on stdin and stdout, and go when stdin ends.
///
/// It watches, tells what it saw, answers or absorbs this run's own requests where it is asked to, and sends echo packets
/// to the host that asks, and nothing else.
/// A person does not type this; it is what --peer starts: probe diagnose b --peer 'ssh b sudo probe agent'
#[derive(Args, Debug)]
pub struct AgentArgs {
    /// Watch this interface [default: the one that the probes come in by]
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
    /// Where to attach.
    #[command(flatten)]
    pub attach: AttachArgs,
}
