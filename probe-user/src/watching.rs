//! What watches one host during a run, here or at the far end, and what it is asked for.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{attach::Attach, error::Failure, sighting::HostSight};

/// Watches the probes of one run on one host. Dropping it detaches everything.
pub trait Watching {
    /// What was seen so far: journeys and drops, without findings. Cheap enough to be asked every few milliseconds.
    ///
    /// # Errors
    /// Where the kernel half can no longer be read.
    fn look(&mut self) -> Result<HostSight, Failure>;

    /// Everything that was seen, with what is looked up after the probes have passed: settings, routes, chains, and
    /// everything else that explains where packets stop. Asked once, and only where there is something to explain.
    ///
    /// # Errors
    /// Where the kernel half can no longer be read.
    fn finish(&mut self) -> Result<HostSight, Failure>;
}

/// Starts watching in the network namespace of the calling thread.
pub type Factory = fn(&WatchRequest) -> Result<Box<dyn Watching>, Failure>;

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest {
    /// What tells the run's probes from all other packets.
    pub nonce: u64,
    /// The echo id that the probes leave with; a NAT may rewrite it.
    pub id: u16,
    /// How many probes there will be.
    pub probes: u16,
    /// The address of this end that probes use; unspecified where no route, and so no source address, was found.
    pub local: IpAddr,
    /// The address of the other end.
    pub remote: IpAddr,
    /// The interface that carries them; none where there is no route to the other end: then no NIC's hops are watched.
    pub interface: Option<String>,
    /// Which end this is.
    pub role: Role,
    /// How to attach to that interface.
    #[serde(default)]
    pub attach: Attach,
    /// Whether to have nftables tell which rule drops a probe, by a table of probe's own that goes with the watch.
    #[serde(default)]
    pub trace_rules: bool,
}

/// Which end of a run a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It sends the probes.
    Sender,
    /// They are for it.
    Receiver,
}
