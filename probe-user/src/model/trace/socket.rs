//! The socket that sent the probes and received the replies, and how a reply can differ from what was sent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The program's socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketTrace {
    /// Whether it is a ping socket (`icmp(7)`): only what the kernel's ICMP lets pass reaches it.
    pub ping: bool,
    /// Payload bytes of each probe.
    pub size: u16,
    /// The index of the device that it is bound to: replies can reach it only there; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<u32>,
    /// Whether it is connected to the target: it does not receive replies from other addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub connected: bool,
    /// The device that has the target's address, if that is this host's own and the socket is bound to a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_at: Option<String>,
    /// The names of this host's devices by their index, if it is bound to one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<u32, String>,
}

/// The first difference between the payload of a reply and what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadChange {
    /// A byte.
    Byte {
        /// Which, from 0.
        at: u32,
        /// As it was sent.
        sent: u8,
        /// As it arrived.
        seen: u8,
    },
    /// The number of bytes.
    Length {
        /// How many were sent.
        sent: u32,
        /// How many arrived.
        seen: u32,
    },
}
