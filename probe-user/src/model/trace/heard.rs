//! ICMP errors about packets of a run that came to a watched host, whoever sent the packets.

use probe_ebpf::Echo;
use serde::{Deserialize, Serialize};

use super::IcmpError;

/// An ICMP error that came to a host, or through it: one about replies goes to the far end, and never to the sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardError {
    /// The leg of the packet that it is about.
    pub leg: Echo,
    /// The network namespace to which it came, if it is about a packet of a tunnel with the probe inside; none: it is about the
    /// probe itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub around_in: Option<u64>,
    /// What it says of which probe.
    #[serde(flatten)]
    pub error: IcmpError,
}
