//! What connection tracking of a network namespace knows of a run's echoes, and the rules that decide what it does.

use std::net::IpAddr;

use probe_ebpf::Echo;
use serde::{Deserialize, Serialize};

use crate::model::netfilter::{NetfilterHook, TableFamily};

/// What was looked up in connection tracking (`conntrack`) of one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingFacts {
    /// The entries of this run's echoes.
    #[serde(default)]
    pub entries: Vec<TrackedEcho>,
    /// Those that were there before the first packet of the run; none: not known.
    #[serde(default)]
    pub before: Option<Vec<TrackedEcho>>,
    /// Why that is not known.
    #[serde(default)]
    pub before_unknown: Option<String>,
    /// How many entries there are, of any kind (`nf_conntrack_count`).
    #[serde(default)]
    pub count: Option<u64>,
    /// How many are allowed (`nf_conntrack_max`); 0: any number.
    #[serde(default)]
    pub most: Option<u64>,
}

/// An entry of connection tracking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TrackedEcho {
    /// The packet that made it, as it came in or was sent.
    pub original: EchoTuple,
    /// The answer that it waits for, as it comes in: if addresses are translated, not the mirror image of the original.
    pub reply: EchoTuple,
    /// Whether an answer came.
    pub replied: bool,
    /// Seconds until it ends unless another packet comes; none: not reported.
    pub timeout_s: Option<u32>,
    /// Its mark (`ct mark`).
    #[serde(default)]
    pub mark: u32,
    /// Its zone.
    #[serde(default)]
    pub zone: u16,
    /// The leg that the zone applies to; none: both.
    #[serde(default)]
    pub zone_of: Option<Echo>,
    /// Whether it was there before the first packet of the run.
    #[serde(default)]
    pub before: bool,
    /// Whether the translated source address is one of this host's; none: it is not translated, or not known.
    #[serde(default)]
    pub own_source: Option<bool>,
}

/// Addresses and id of one direction of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EchoTuple {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The echo id.
    pub id: u16,
    /// The ICMP type.
    pub kind: u8,
    /// The ICMP code.
    pub code: u8,
}

impl TrackedEcho {
    /// Returns the address to which the destination is translated, if it is.
    pub fn sent_to(&self) -> Option<IpAddr> {
        (self.reply.source != self.original.destination).then_some(self.reply.source)
    }

    /// Returns the address that replaces the source, if one does.
    pub fn sent_as(&self) -> Option<IpAddr> {
        (self.reply.destination != self.original.source).then_some(self.reply.destination)
    }

    /// Returns the id that replaces the sender's, if one does.
    pub fn id_sent(&self) -> Option<u16> {
        (self.reply.id != self.original.id).then_some(self.reply.id)
    }
}

/// What a netfilter rule makes connection tracking do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackingAct {
    /// It translates the destination (`dnat`, `redirect`).
    Destination,
    /// It translates the source (`snat`, `masquerade`).
    Source,
    /// It exempts packets from tracking (`notrack`).
    Untracked,
    /// It puts packets into a zone (`ct zone set`).
    Zone,
    /// It matches the state (`ct state`).
    State,
    /// It may do any of these: what it does could not be read.
    Unread,
}

/// A rule that decides what connection tracking does, or matches what it knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackingRule {
    /// What it does.
    pub act: TrackingAct,
    /// The family of its table; none: not known.
    pub family: Option<TableFamily>,
    /// Its table.
    pub table: String,
    /// The hook of its base chain; none: not known.
    pub hook: Option<NetfilterHook>,
    /// The chain that it is in.
    pub chain: String,
    /// The rule, as nft or iptables writes it.
    pub rule: String,
    /// Its handle, as `nft -a` shows it.
    #[serde(default)]
    pub handle: Option<u64>,
    /// What the named sets and maps in it hold, if it names any.
    #[serde(default)]
    pub elements: String,
    /// Whether it is of the older iptables (`x_tables`).
    #[serde(default)]
    pub legacy: bool,
}

impl TrackingRule {
    /// Returns family and table as nft commands name a table.
    pub fn table_words(&self) -> String {
        let family = self.family.map(TableFamily::name).unwrap_or_default();
        format!("{family} {}", self.table).trim_start().to_owned()
    }
}
