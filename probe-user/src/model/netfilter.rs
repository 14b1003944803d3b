//! The terms of netfilter: its hooks, and the families of nftables' tables.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A hook of netfilter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetfilterHook {
    /// Packets that came in, before routing.
    Prerouting,
    /// Packets for this host.
    Input,
    /// Packets that this host passes on.
    Forward,
    /// Packets that this host makes.
    Output,
    /// Packets that leave, after routing.
    Postrouting,
    /// Packets that a device received.
    Ingress,
    /// Packets that a device is about to send.
    Egress,
}

/// The family of a table of nftables: which packets its chains see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TableFamily {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// IPv4 and IPv6.
    Inet,
    /// ARP.
    Arp,
    /// Frames that a bridge passes on.
    Bridge,
    /// All packets of a device.
    Netdev,
}

impl NetfilterHook {
    const ALL: [Self; 7] =
        [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting, Self::Ingress, Self::Egress];

    /// Returns its name in nft.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    /// Returns the hook with this name, in letters of either case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name().eq_ignore_ascii_case(name))
    }
}

impl TableFamily {
    const ALL: [Self; 6] = [Self::Ip, Self::Ip6, Self::Inet, Self::Arp, Self::Bridge, Self::Netdev];

    /// Returns its name in nft.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }

    /// Returns the family with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }
}

impl fmt::Display for NetfilterHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for TableFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_documents_and_lead_back() {
        for hook in NetfilterHook::ALL {
            assert_eq!(serde_json::to_value(hook).unwrap(), hook.name());
            assert_eq!(NetfilterHook::named(&hook.name().to_uppercase()), Some(hook));
        }
        for family in TableFamily::ALL {
            assert_eq!(serde_json::to_value(family).unwrap(), family.name());
            assert_eq!(TableFamily::named(family.name()), Some(family));
        }
        assert_eq!((NetfilterHook::named("in"), TableFamily::named("")), (None, None));
    }
}
