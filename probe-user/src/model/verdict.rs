//! The words of a verdict: how a run ended, where packets stop, and how sure that is (the contract of `probe.diagnosis/1`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every probe was answered.
    Delivered,
    /// None was.
    Stopped,
    /// Some were.
    Lossy,
    /// Answered, but changed on the way.
    Altered,
    /// What was watched does not tell.
    Inconclusive,
}

/// How sure something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// What was watched leaves several causes.
    Unknown,
    /// One witness.
    Likely,
    /// Two independent witnesses, or counters with no blind hop in between.
    Certain,
}

/// A host that can stop packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StopHost {
    /// The sender.
    Local,
    /// Another place that was watched: a network namespace of a watched kernel, which is neither end.
    Via,
    /// Between two watched places.
    Network,
    /// The far end.
    Peer,
    /// The network or the far end: nobody watched there.
    Beyond,
}

/// A part of the network stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The socket that sends or receives.
    Socket,
    /// Routing.
    Route,
    /// nftables, iptables, connection tracking.
    Netfilter,
    /// A cgroup program.
    Cgroup,
    /// ARP or neighbour discovery.
    Neighbour,
    /// The device's queue.
    Qdisc,
    /// A tc program or filter.
    Tc,
    /// The device and its driver.
    Driver,
    /// An XDP program.
    Xdp,
    /// The IP layer.
    Ip,
    /// The kernel's ICMP.
    Icmp,
    /// Between two hosts.
    Path,
}

/// The word for a value of one of these enums.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        other => format!("{other:?}"),
    }
}

macro_rules! named {
    ($($type:ty),*) => {$(
        impl $type {
            /// Its name in documents.
            pub fn name(self) -> String {
                word(self)
            }
        }
    )*};
}
named!(Outcome, StopHost, Layer, Confidence);
