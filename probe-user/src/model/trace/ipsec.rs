//! A policy of `IPsec`, as the kernel chose it for packets of a run.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The policy that the kernel applies to packets from one address to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpsecPolicy {
    /// Whether it is for what the host sends; otherwise for what it takes in.
    pub outwards: bool,
    /// The source of the packets.
    pub from: IpAddr,
    /// Their destination.
    pub to: IpAddr,
    /// Its selector, as `ip xfrm policy` writes it.
    pub selector: String,
    /// What it wants: `block`, or the protocol, mode and ends of its first template; empty: nothing, they may pass.
    pub wants: String,
}
