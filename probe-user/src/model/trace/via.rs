//! What an agent on a host in between saw of a run, and what is known of that host's clock.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::HostTrace;

/// A host in between, with an agent of this run's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ViaTrace {
    /// What it saw: its places are its own network namespace and others of its kernel that probes crossed or ended in.
    pub trace: HostTrace,
    /// The addresses of its own namespace, of the run's IP version and not link-local.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Its `CLOCK_MONOTONIC` less the sender's, in nanoseconds, as the quickest question and answer show; 0 if both are
    /// on one kernel.
    #[serde(default)]
    pub ahead_ns: i64,
}
