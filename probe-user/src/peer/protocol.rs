//! The language of the two ends: JSON objects, one a line, bounded in length, with numbers for both sides' versions.
//!
//! Lines, because the far end is reached through other people's programs: what a shell or ssh prints before the agent
//! speaks are lines too and can be told apart and shown, a person can read along, and a cut-off message is seen at once.

pub mod frame;

use std::{collections::BTreeSet, fmt, net::IpAddr};

use probe_ebpf::{ABI_VERSION, Echo};
use serde::{Deserialize, Serialize};

use crate::{
    model::{
        request::WatchRequest,
        trace::{HostFacts, HostTrace, SenderTrace, Taken},
    },
    traffic::volley::{Fired, PacketSpec},
};

/// The version of this language. It changes when an old end would misunderstand a new one.
pub const PROTOCOL: u32 = 2;

/// What every hello starts with, wherever in its line: a banner without a line's end may stand before it.
pub const HELLO_MARK: &str = "{\"probe_hello\":";

/// The longest message that the far end may say: a full run of 1024 probes at every hop has half of that.
pub const MAX_ANSWER_BYTES: usize = 8 << 20;

/// The longest message that the near end may say: a volley of [`volley::MOST_SHOTS`] with every field set has less.
///
/// [`volley::MOST_SHOTS`]: crate::traffic::volley::MOST_SHOTS
pub const MAX_REQUEST_BYTES: usize = 512 << 10;

/// What the far end says first, unasked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the far end.
    pub protocol: u32,
    /// [`ABI_VERSION`] of the far end: its kernel half's.
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
    /// What it can be asked for ([`Offer::name`]). Anything else is refused, and names from later versions are not known.
    #[serde(default)]
    pub offers: BTreeSet<String>,
    /// Why it offers less than it would like to.
    #[serde(default)]
    pub trouble: Option<Complaint>,
}

/// The line of a [`Hello`].
#[derive(Serialize, Deserialize)]
struct Greeting {
    probe_hello: Hello,
}

/// Something that the far end can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offer {
    /// To watch a run, to be looked at, and to finish.
    Watch,
    /// To send echo packets to the near end.
    Send,
}

impl Offer {
    /// Every offer.
    pub const ALL: [Self; 2] = [Self::Watch, Self::Send];

    /// Its name in a hello.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Send => "send",
        }
    }
}

/// An error of the far end, as its user would have read it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// What is wrong.
    pub error: String,
    /// What mends it.
    pub fix: String,
}

/// What the far end is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Watch this, and say [`AgentReply::Ready`] when it is being watched. One run after the other.
    Watch(WatchRequest),
    /// Say what was seen so far: [`AgentReply::Sight`].
    Look,
    /// Say all that was seen, look up the rest, and detach: [`AgentReply::Sight`].
    Finish,
    /// Send echo packets to the near end that is watched for: [`AgentReply::Sent`].
    Send(SendOrder),
    /// Say which requests were absorbed and not told yet: [`AgentReply::Absorbed`].
    Absorbed,
    /// Send these to the near end, at their times from now on: [`AgentReply::Loaded`], at once.
    Volley(Vec<PacketSpec>),
    /// Say what became of shots that were due and not told yet: [`AgentReply::Fired`].
    Fired,
}

impl Request {
    /// The offer that it needs.
    pub fn needs(&self) -> Offer {
        match self {
            Self::Watch(_) | Self::Look | Self::Finish | Self::Absorbed => Offer::Watch,
            Self::Send(_) | Self::Volley(_) | Self::Fired => Offer::Send,
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
    /// Sequence number of the first.
    pub first_seq: u16,
    /// How many.
    pub count: u16,
    /// Milliseconds between two.
    pub interval_ms: u32,
    /// Payload bytes.
    pub size: u16,
    /// Marks them: that of the watched run, or another.
    pub nonce: u64,
    /// Milliseconds to wait for answers after the last.
    pub wait_ms: u32,
}

/// What the far end answers.
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
    /// So many shots were taken on.
    Loaded(u32),
    /// What became of shots.
    Fired(Fired),
    /// It will not, or it cannot.
    Refused(Complaint),
}

/// A far end that is watching.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The host.
    pub host: HostFacts,
    /// Hops that it cannot watch, by name, with the reason.
    pub blind: std::collections::BTreeMap<String, String>,
    /// Addresses of the interface that it watches, of the run's IP version and not link-local, the run's own first.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
}

/// A message with the number by which question and answer find each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Numbered<T> {
    /// Counts up from 1 in a session.
    pub number: u32,
    /// The message.
    pub message: T,
}

/// Two ends that do not speak the same version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Of this language.
    Protocol {
        /// The far end's version.
        theirs: u32,
    },
    /// Of the two halves' contract.
    Abi {
        /// The far end's version.
        theirs: u32,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol { theirs } => {
                write!(f, "the far end speaks peer protocol {theirs}, this one {PROTOCOL}")
            }
            Self::Abi { theirs } => write!(f, "the far end's kernel half has ABI {theirs}, this one's {ABI_VERSION}"),
        }
    }
}

impl Hello {
    /// This build's hello, with everything on offer, or with nothing and the reason.
    pub fn new(hostname: String, kernel: String, trouble: Option<Complaint>) -> Self {
        let offers = Offer::ALL.iter().filter(|_| trouble.is_none()).map(|offer| offer.name().to_owned()).collect();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self { protocol: PROTOCOL, abi: ABI_VERSION, version, hostname, kernel, offers, trouble }
    }

    /// Its line.
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(&Greeting { probe_hello: self.clone() }).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Finds a hello in a line, behind whatever else stands in it.
    ///
    /// # Errors
    /// Where there is one that cannot be read.
    pub fn in_line(line: &str) -> Option<Result<Self, String>> {
        let start = line.find(HELLO_MARK)?;
        let hello = frame::read::<Greeting>(line[start..].trim_end().as_bytes());
        Some(hello.map(|greeting| greeting.probe_hello).map_err(|error| error.to_string()))
    }

    /// Whether this end understands that one.
    ///
    /// # Errors
    /// Which versions differ; the language's counts before the contract's.
    pub fn check(&self) -> Result<(), Mismatch> {
        if self.protocol != PROTOCOL {
            return Err(Mismatch::Protocol { theirs: self.protocol });
        }
        if self.abi != ABI_VERSION {
            return Err(Mismatch::Abi { theirs: self.abi });
        }
        Ok(())
    }

    /// Whether that end can be asked for it.
    pub fn has(&self, offer: Offer) -> bool {
        self.offers.contains(offer.name())
    }
}

#[cfg(test)]
mod tests;
