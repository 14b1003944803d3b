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
    /// Every probe was answered, but changed on the way.
    Altered,
    /// The hops that were watched do not decide it.
    Inconclusive,
}

/// How certain a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Several causes fit what was watched.
    Unknown,
    /// One witness; or ordinary loss would look like this once in a hundred times at most.
    Likely,
    /// Two independent witnesses, or counters with no blind hop in between; or once in ten thousand times at most.
    Certain,
}

/// A host that can stop packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StopHost {
    /// The sender.
    Local,
    /// The network between the two.
    Network,
    /// The far end.
    Peer,
    /// The network or the far end: neither was watched.
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

/// Returns the serialized name of a value of one of these enums.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        other => format!("{other:?}"),
    }
}

macro_rules! named {
    ($($type:ty),*) => {$(
        impl $type {
            /// Returns its name in documents.
            pub fn name(self) -> String {
                word(self)
            }
        }
    )*};
}
named!(Outcome, StopHost, Layer, Confidence);
