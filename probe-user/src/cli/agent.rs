//! `probe agent`.

use super::attach::AttachArgs;
use clap::Args;

/// Run as the far end of diagnose, experiment and characterize: speak their protocol over stdin and stdout until stdin closes.
///
/// The agent watches echo packets and reports what it saw. If asked to, it answers or absorbs this run's own requests, and
/// sends echo packets to the host that asks. It does nothing else.
/// You need not type this yourself; --peer starts it: probe diagnose b --peer 'ssh b sudo probe agent'
#[derive(Args, Debug)]
pub struct AgentArgs {
    /// Watch this interface [default: the one on which the probes arrive]
    #[arg(short = 'I', long, value_name = "IFACE")]
    pub interface: Option<String>,
    /// How the kernel programs are attached.
    #[command(flatten)]
    pub attach: AttachArgs,
}
