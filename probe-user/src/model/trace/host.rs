//! The host that a trace comes from.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::attach::XdpAttachment;

/// Facts that identify a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Its name.
    pub hostname: String,
    /// The interface that carries the route to the other end.
    pub interface: String,
    /// The address that the probes use there.
    pub address: Option<IpAddr>,
    /// Kernel release.
    pub kernel: String,
    /// How XDP is attached.
    pub xdp_mode: XdpAttachment,
    /// The kind of that interface if it is a tunnel, e.g. `vxlan`: what carries it is not watched.
    #[serde(default)]
    pub tunnel: Option<String>,
    /// The inode of its network namespace; 0: not known.
    #[serde(default)]
    pub netns: u64,
    /// How to recognize packets of the tunnels of its network namespace ([`super::tunnel::to_words`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tunnels: Vec<u32>,
    /// Whether the run was watched in every network namespace of its kernel.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everywhere: bool,
    /// The id that distinguishes its kernel, until the next boot, from every other (`boot_id`); empty: not known.
    #[serde(default)]
    pub boot: String,
}

impl HostFacts {
    /// Reports whether both are namespaces of one kernel.
    pub fn shares_kernel(&self, other: &Self) -> bool {
        !self.boot.is_empty() && self.boot == other.boot
    }

    /// Reports whether both are one network namespace.
    pub fn is_same_place(&self, other: &Self) -> bool {
        self.shares_kernel(other) && self.netns != 0 && self.netns == other.netns
    }
}
