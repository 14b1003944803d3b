//! A request to watch one host: which packets, on which interface, and what happens to those that arrive.

use std::net::IpAddr;

use probe_ebpf::Family;
use serde::{Deserialize, Serialize};

use super::{attach::Attach, sent_as::SentAs};

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchRequest {
    /// The number that distinguishes the run's probes from all other packets.
    pub nonce: u64,
    /// The echo id that the probes leave with; a NAT may rewrite it.
    pub id: u16,
    /// How many probes there will be.
    pub probes: u16,
    /// The address of this end that probes use; unspecified if no route, and so no source address, was found. For a
    /// host in between it is the sender's.
    pub local: IpAddr,
    /// The address of the other end; for a host in between that of the target.
    pub remote: IpAddr,
    /// The interface that carries them; `None` if there is no route to the other end: then no NIC's hops are watched.
    pub interface: Option<String>,
    /// Which end this is.
    pub role: HostRole,
    /// How to attach to that interface.
    #[serde(default)]
    pub attach: Attach,
    /// Whether nftables reports which rule drops a probe, through a table of probe's own that ends with the watch.
    #[serde(default)]
    pub trace_rules: bool,
    /// Whether to report the run's probes in every other network namespace of this kernel too.
    #[serde(default)]
    pub everywhere: bool,
    /// What happens to the run's requests that arrive here.
    #[serde(default)]
    pub requests: RequestHandling,
    /// Whether the local address was asked for, so that routing may choose by it.
    #[serde(default)]
    pub source_given: bool,
    /// Further addresses of the other end that this end may send to, besides [`WatchRequest::remote`]; at most
    /// [`MAX_FURTHER`].
    #[serde(default)]
    pub further: Vec<IpAddr>,
    /// How to recognize packets of the other end's tunnels ([`super::trace::tunnel::to_words`]): probes are looked for
    /// inside these too, besides those of this end's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tunnels: Vec<u32>,
    /// The sequence number of the first probe, if packets without a mark are probes too: those with
    /// [`WatchRequest::id`] and one of the run's numbers, from or to one of its two ends. Only if requests pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbered_from: Option<u16>,
    /// Whom the probes are sent as, where that is somebody else than the process that watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_as: Option<Box<SentAs>>,
    /// What routing chooses by, besides addresses and the sender.
    #[serde(default)]
    pub choosers: RouteChoosers,
}

impl WatchRequest {
    /// Returns whether probes are noted at other devices than the watched one too: not if they are kept from the
    /// kernel.
    pub fn crosses(&self) -> bool {
        self.probes > 0 && !matches!(self.requests, RequestHandling::Absorbed | RequestHandling::AllAbsorbed)
    }
}

/// How many [`WatchRequest::further`] addresses there can be.
pub const MAX_FURTHER: usize = 4;

/// What happens to the run's marked requests at the NIC where they arrive. It applies only to packets with the run's
/// nonce, and ends with the watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestHandling {
    /// They go on: this host's kernel replies to them, or does not.
    #[default]
    Pass,
    /// XDP turns them into replies at the NIC; no other part of this host sees them.
    AnsweredByXdp,
    /// They are kept from the kernel, and the agent replies to them through a raw socket.
    AnsweredByAgent,
    /// They are kept from the kernel and reported ([`crate::watch::Watching::absorbed`]); nobody replies.
    Absorbed,
    /// They, and the run's replies too, are kept from the kernel and reported: this end sends nothing by itself.
    AllAbsorbed,
}

impl RequestHandling {
    /// Reports whether they are kept from the kernel and reported.
    pub const fn kept(self) -> bool {
        matches!(self, Self::AnsweredByAgent | Self::Absorbed | Self::AllAbsorbed)
    }
}

/// What a host is to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostRole {
    /// It sends the probes.
    Sender,
    /// It receives them.
    Receiver,
    /// It is in between, and forwards them or does not: it is watched at every interface, and sends nothing.
    Router,
}

/// What this host's routing chooses by, besides addresses and the sender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteChoosers {
    /// The firewall mark that packets are sent with.
    #[serde(default)]
    pub mark: u32,
    /// Their TOS or traffic class byte, which answers get from requests.
    #[serde(default)]
    pub tos: u8,
    /// The device that their socket is bound to.
    #[serde(default)]
    pub bound: Option<String>,
}

/// The echo packets to explain: those between two ends, one of which is this host.
#[derive(Clone, Debug)]
pub struct EchoFlow {
    /// The address that this host uses.
    pub local: IpAddr,
    /// The other end.
    pub remote: IpAddr,
    /// The interface towards it; `None`: that of the route to it.
    pub interface: Option<String>,
    /// The echo ids of the run.
    pub ids: Vec<u16>,
    /// Whether the local address is set before the route is looked up: asked for by the user, or that of the reply's
    /// request.
    pub source_given: bool,
    /// Whom this host's packets are sent as, where that is somebody else than this process.
    pub sent_as: Option<Box<SentAs>>,
    /// What routing chooses by, besides addresses and the sender.
    pub choosers: RouteChoosers,
}

/// What routing knows of the packets of a socket besides their addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketKey {
    /// The user whose packets they are; `None`: that of this process.
    pub uid: Option<u32>,
    /// Their TOS or traffic class byte.
    pub tos: u8,
}

impl EchoFlow {
    /// Returns what routing knows of this host's packets besides their addresses.
    pub fn key(&self) -> SocketKey {
        SocketKey { uid: self.sent_as.as_ref().map(|sender| sender.uid), tos: self.choosers.tos }
    }

    /// Returns the IP version of the run.
    pub fn family(&self) -> Family {
        if self.remote.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}
