//! The protocol of the two ends: JSON objects, one per line, bounded in length, with the versions of both sides.
//!
//! Lines, because the far end is reached through other people's programs: what a shell or ssh prints before the agent
//! speaks are lines too and can be told apart and shown, a person can read along, and a cut-off message is seen at once.

pub mod frame;

use std::{collections::BTreeSet, fmt, net::IpAddr};

use probe_ebpf::{ABI_VERSION, Echo, Hop};
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        request::{HostRole, WatchRequest},
        trace::{HostFacts, HostTrace, SenderTrace, Taken},
    },
    traffic::batch::{BatchProgress, PacketSpec},
};

/// The version of this protocol. It changes when an old end would misunderstand a new one.
pub const PROTOCOL: u32 = 2;

/// The start of every hello, anywhere in its line: a banner without a newline may precede it.
pub const HELLO_MARK: &str = "{\"probe_hello\":";

/// The longest message of the far end: a full run of 1024 probes at every hop takes half of that.
pub const MAX_ANSWER_BYTES: usize = 8 << 20;

/// The longest message of the near end: a batch of [`batch::MAX_BATCH`] with every field set is shorter.
///
/// [`batch::MAX_BATCH`]: crate::traffic::batch::MAX_BATCH
pub const MAX_REQUEST_BYTES: usize = 512 << 10;

/// The far end's first message, unsolicited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the far end.
    pub protocol: u32,
    /// [`ABI_VERSION`] of the far end's kernel half.
    pub abi: u32,
    /// Version of its probe.
    #[serde(default)]
    pub version: String,
    /// Its host's name.
    #[serde(default)]
    pub hostname: String,
    /// Its kernel's release.
    #[serde(default)]
    pub kernel: String,
    /// What it offers ([`Offer::name`]). It refuses everything else; names from later versions are unknown here.
    #[serde(default)]
    pub offers: BTreeSet<String>,
    /// Why it offers less than usual.
    #[serde(default)]
    pub trouble: Option<Complaint>,
}

/// The line of a [`Hello`].
#[derive(Serialize, Deserialize)]
struct Greeting {
    probe_hello: Hello,
}

/// A function that the far end offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offer {
    /// To watch a run, report on it, and finish it.
    Watch,
    /// To send echo packets to the near end.
    Send,
    /// To watch a run as a host in between ([`crate::model::request::HostRole::Router`]), and to report its clock.
    LookOn,
}

impl Offer {
    /// Every offer.
    pub const ALL: [Self; 3] = [Self::Watch, Self::Send, Self::LookOn];

    /// Returns its name in a hello.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Send => "send",
            Self::LookOn => "look_on",
        }
    }
}

/// An error of the far end, as its user would have read it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// What is wrong.
    pub error: String,
    /// How to fix it.
    pub fix: String,
}

/// A request to the far end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Watch this, and send [`AgentReply::Ready`] once it is being watched. One run after the other.
    Watch(WatchRequest),
    /// Report what was seen so far: [`AgentReply::Sight`].
    Look,
    /// Report all that was seen, look up the rest, and detach: [`AgentReply::Sight`].
    Finish,
    /// Send echo packets to the near end of the watched run: [`AgentReply::Sent`].
    Send(SendOrder),
    /// Report which requests were absorbed and not reported yet: [`AgentReply::Absorbed`].
    Absorbed,
    /// Send these packets to the near end, at their times from now on: [`AgentReply::Loaded`], at once.
    #[serde(rename = "volley")]
    Batch(Vec<PacketSpec>),
    /// Report which packets were sent and not reported yet: [`AgentReply::BatchProgress`].
    #[serde(rename = "fired")]
    BatchProgress,
    /// Report what the far end's clock shows: [`AgentReply::Clock`].
    Clock,
}

impl Request {
    /// Returns the offer that it needs.
    pub fn needs(&self) -> Offer {
        match self {
            Self::Watch(request) if request.role == HostRole::Router => Offer::LookOn,
            Self::Clock => Offer::LookOn,
            Self::Watch(_) | Self::Look | Self::Finish | Self::Absorbed => Offer::Watch,
            Self::Send(_) | Self::Batch(_) | Self::BatchProgress => Offer::Send,
        }
    }
}

/// Echo packets for the far end to send, from and to the two addresses of its [`WatchRequest`] only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendOrder {
    /// Request or reply.
    pub echo: Echo,
    /// Echo id.
    pub id: u16,
    /// Sequence number of the first packet.
    pub first_seq: u16,
    /// Number of packets.
    pub count: u16,
    /// Milliseconds between two packets.
    pub interval_ms: u32,
    /// Payload bytes.
    pub size: u16,
    /// The nonce of their marks: that of the watched run, or another.
    pub nonce: u64,
    /// Milliseconds to wait for replies after the last packet.
    pub wait_ms: u32,
}

/// A reply of the far end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentReply {
    /// It is watching.
    Ready(Ready),
    /// What it saw.
    Sight(Box<HostTrace>),
    /// What it sent, and what came back to it.
    Sent(SenderTrace),
    /// Requests that it absorbed.
    Absorbed(Taken),
    /// It accepted this many packets.
    Loaded(u32),
    /// Which packets of its batches were sent.
    #[serde(rename = "fired")]
    BatchProgress(BatchProgress),
    /// Its `CLOCK_MONOTONIC`, in nanoseconds.
    Clock(u64),
    /// It refuses, or it failed.
    Refused(Complaint),
}

/// A far end that is watching.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The host.
    pub host: HostFacts,
    /// The hops that it cannot watch, with the reason.
    pub blind: std::collections::BTreeMap<Hop, String>,
    /// Addresses of the interface that it watches, of the run's IP version and not link-local, the run's own first; for
    /// a host in between, those of every interface.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
}

/// A message with the number that matches requests and replies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbered<T> {
    /// Counts up from 1 in a session.
    pub number: u32,
    /// The message.
    pub message: T,
}

/// The difference between two ends of different versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// In the peer protocol.
    Protocol {
        /// The far end's version.
        theirs: u32,
    },
    /// In the ABI of the kernel half.
    Abi {
        /// The far end's version.
        theirs: u32,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol { theirs } => {
                write!(f, "the far end uses peer protocol {theirs}, this one {PROTOCOL}")
            }
            Self::Abi { theirs } => write!(f, "the far end's kernel half has ABI {theirs}, this one's {ABI_VERSION}"),
        }
    }
}

impl Hello {
    /// Builds this build's hello, with every offer, or with none and the reason.
    pub fn new(hostname: String, kernel: String, trouble: Option<Complaint>) -> Self {
        let offers = Offer::ALL.iter().filter(|_| trouble.is_none()).map(|offer| offer.name().to_owned()).collect();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { protocol: PROTOCOL, abi: ABI_VERSION, version, hostname, kernel, offers, trouble }
    }

    /// Encodes it as a line.
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(&Greeting { probe_hello: self.clone() }).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Finds a hello in a line, after whatever else is in it.
    ///
    /// # Errors
    /// If there is a hello that cannot be parsed.
    pub fn in_line(line: &str) -> Option<Result<Self, String>> {
        let start = line.find(HELLO_MARK)?;
        let hello = frame::read::<Greeting>(line[start..].trim_end().as_bytes());
        Some(hello.map(|greeting| greeting.probe_hello).map_err(|error| error.to_string()))
    }

    /// Checks that this end understands that one.
    ///
    /// # Errors
    /// The versions that differ; the protocol's is checked first.
    pub fn check(&self) -> Result<(), Mismatch> {
        if self.protocol != PROTOCOL {
            return Err(Mismatch::Protocol { theirs: self.protocol });
        }
        if self.abi != ABI_VERSION {
            return Err(Mismatch::Abi { theirs: self.abi });
        }
        Ok(())
    }

    /// Reports whether that end offers it.
    pub fn has(&self, offer: Offer) -> bool {
        self.offers.contains(offer.name())
    }
}

#[cfg(test)]
mod tests;
