//! From what the hosts saw to one verdict: evidence in, a diagnosis out. Pure: a bug report is a file of evidence.
//!
//! [`path`] says which hops each leg passes, [`ledger`] how far each probe came, [`rules`] why it went no further, and
//! [`verdict`] what follows from all of them.

pub mod advice;
mod alterations;
mod clues;
pub mod document;
pub mod ledger;
pub mod names;
pub mod path;
pub mod places;
pub mod rules;
mod sentence;
mod timing;
pub mod verdict;

use probe_ebpf::Echo;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::trace::{Finding, HostTrace, SenderTrace, SentProbe};
pub use document::Diagnosis;
use path::Side;
pub use verdict::diagnose;

/// All that is known after a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Whom the probes were for.
    pub target: Target,
    /// What was sent.
    #[serde(default)]
    pub mode: ProbeMode,
    /// Who was to answer at the far end.
    #[serde(default)]
    pub responder: Responder,
    /// What the sending program knows.
    pub sending: SenderTrace,
    /// What the sending host saw.
    pub local: HostTrace,
    /// What the far end saw; none: nobody watched there.
    #[serde(default)]
    pub peer: Option<HostTrace>,
    /// Which routers answered to a rising TTL, where that was asked for.
    #[serde(default)]
    pub walk: Option<Walk>,
}

/// Whom the probes were for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Target {
    /// What was typed.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeMode {
    /// Requests, which want an answer.
    #[default]
    Request,
    /// Replies that nobody asked for.
    ReplyOnly,
    /// Requests that nobody answers: to reach the far end is all.
    RequestOnly,
}

/// Who answers requests at the far end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Responder {
    /// Its kernel, as always
    #[default]
    Kernel,
    /// Its agent, through a raw socket: requests are taken at the NIC, so that its firewall and its ICMP never see them
    Agent,
    /// XDP at its NIC: requests go back from there, and nothing of its stack sees either leg
    Xdp,
    /// Nobody: the run's packets are taken at the NIC, counted and told.
    #[value(skip)]
    Nobody,
}

/// What a rising TTL found out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// One for each TTL that was tried, from 1 up.
    pub steps: Vec<WalkStep>,
}

/// Who answered to one TTL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalkStep {
    /// The TTL or hop limit.
    pub ttl: u8,
    /// Who answered; none: nobody.
    pub from: Option<IpAddr>,
}

impl Evidence {
    /// Evidence of a run that sent requests to a far kernel, with nobody watching there.
    pub fn new(target: Target, sending: SenderTrace, local: HostTrace) -> Self {
        let (mode, responder) = (ProbeMode::default(), Responder::default());
        Self { target, mode, responder, sending, local, peer: None, walk: None }
    }

    /// What the host on `side` saw; the sender where the target is on this very host.
    pub fn host(&self, side: Side) -> &HostTrace {
        match (side, &self.peer) {
            (Side::Peer, Some(peer)) => peer,
            _ => &self.local,
        }
    }

    /// Whether the target is an address of the sending host, so that everything goes through `lo`.
    pub fn loops_back(&self) -> bool {
        let host = &self.local.host;
        self.peer.is_none() && (host.interface == "lo" || host.address == Some(self.target.address))
    }

    /// Whether a second host was watched.
    pub fn two_sided(&self) -> bool {
        self.peer.is_some()
    }

    /// The leg that the sent packets travel.
    pub fn first_leg(&self) -> Echo {
        match self.mode {
            ProbeMode::Request | ProbeMode::RequestOnly => Echo::Request,
            ProbeMode::ReplyOnly => Echo::Reply,
        }
    }

    /// Whether nothing is to come back.
    pub fn one_way(&self) -> bool {
        self.mode != ProbeMode::Request
    }

    /// How many probes were sent, or refused.
    pub fn sent(&self) -> usize {
        self.sending.probes.len()
    }

    /// The probe with this number.
    pub fn probe(&self, probe: u16) -> Option<&SentProbe> {
        self.sending.probes.iter().find(|sent| sent.probe == probe)
    }

    /// What was looked up on the host on `side`.
    pub fn findings(&self, side: Side) -> impl Iterator<Item = &Finding> {
        self.host(side).findings.iter()
    }

    /// Whether the probes are IPv6.
    pub fn is_v6(&self) -> bool {
        self.target.address.is_ipv6()
    }

    /// What people call the host on `side`; two hosts of one name (network namespaces) are told apart by their place.
    pub fn name(&self, side: Side) -> String {
        let (here, there) = (&self.local.host.hostname, self.peer.as_ref().map(|peer| &peer.host.hostname));
        match side {
            _ if Some(here) == there || here.is_empty() || there.is_some_and(String::is_empty) => match side {
                Side::Local => "this host".to_owned(),
                Side::Peer => "the peer".to_owned(),
            },
            Side::Local => here.clone(),
            Side::Peer => there.cloned().unwrap_or_else(|| self.target.name.clone()),
        }
    }
}
