//! Why packets stop, as a document says it.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::resolution::NeighbourSaid;
use crate::model::netfilter::{NetfilterHook, TableFamily};

/// Why packets stop, in the words of whoever stopped them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Cause {
    /// The kernel's drop reason, the errno, the setting, the counter or the ICMP error; none if nothing names it.
    pub reason: Option<String>,
    /// The kernel function.
    pub function: Option<String>,
    /// The netfilter hook, and the table and chain if they are known.
    pub netfilter: Option<Netfilter>,
    /// The ICMP error that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp: Option<IcmpSaid>,
    /// The kernel setting that does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<SettingSaid>,
    /// The program that does it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// More about it, as a clause for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What connection tracking has to do with it, as a clause for people, if it is what decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracking: Option<String>,
    /// What became of finding the neighbour, if that is what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neighbour: Option<NeighbourSaid>,
}

/// A place in netfilter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Netfilter {
    /// The family of the table, if it is known.
    pub family: Option<TableFamily>,
    /// The hook, if it is known.
    pub hook: Option<NetfilterHook>,
    /// The table, if it is known.
    pub table: Option<String>,
    /// The base chain, if it is known.
    pub chain: Option<String>,
    /// Whether that is a chain of the older iptables, which nft does not show.
    pub legacy: bool,
    /// The rule, or `policy drop`, if only one of the chain can have done it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The chain that the rule is in, where that is another one, to which the base chain leads.
    #[serde(skip)]
    pub rule_chain: Option<String>,
}

/// An ICMP error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IcmpSaid {
    /// Who sent it.
    pub from: IpAddr,
    /// Its type.
    #[serde(rename = "type")]
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
    /// What it says.
    pub meaning: String,
}

impl IcmpSaid {
    /// Reports whether it says that the packet is too long for a link on the way.
    pub fn is_too_big(&self) -> bool {
        matches!((self.from.is_ipv6(), self.icmp_type, self.code), (false, 3, 4) | (true, 2, _))
    }

    /// Reports whether it is one that a router sends about another host, and no host about itself (RFC 792, RFC 1812 §5.2.7,
    /// RFC 4443 §3).
    pub fn is_of_a_router(&self) -> bool {
        matches!(
            (self.from.is_ipv6(), self.icmp_type, self.code),
            (false, 3, 0 | 1 | 4 | 5 | 6 | 7 | 11 | 12) | (false, 11, 0) | (true, 1, 0 | 3) | (true, 2 | 3, 0)
        )
    }
}

/// A kernel setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SettingSaid {
    /// Its path below `/proc/sys`.
    pub path: String,
    /// Its value.
    pub value: String,
}
