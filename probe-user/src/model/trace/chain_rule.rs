//! A rule of a firewall, as it was listed.

use serde::{Deserialize, Serialize};

/// A rule of netfilter that may have ended packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainRule {
    /// The chain that it is in.
    pub chain: String,
    /// The rule, as nft or iptables writes it.
    pub rule: String,
    /// Its handle, as `nft -a` shows it.
    #[serde(default)]
    pub handle: Option<u64>,
}
