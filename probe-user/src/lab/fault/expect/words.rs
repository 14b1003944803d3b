//! The contract's words for how a run ended, where packets stop, and how sure that is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a run ended (contract: `verdict.outcome`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// It could not be found out.
    Inconclusive,
}

/// On which side packets stop (contract: `stops[].host`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The host that diagnoses.
    Local,
    /// Between the hosts.
    Network,
    /// The far host.
    Peer,
    /// Beyond this host's NIC, where no peer tells more.
    Beyond,
}

/// In which part of a network stack packets stop (contract: `stops[].layer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the contract names them, and kernel engineers know them")]
pub enum Layer {
    Socket,
    Route,
    Netfilter,
    Cgroup,
    Neighbour,
    Qdisc,
    Tc,
    Driver,
    Xdp,
    Ip,
    Icmp,
    Path,
}

/// How sure a diagnosis is (contract: `verdict.confidence`), least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// No witness.
    Unknown,
    /// One witness.
    Likely,
    /// Two independent witnesses, or counters with nothing blind between them.
    Certain,
}

/// The contract's word for a value of one of these enums.
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
named!(Outcome, Side, Layer, Confidence);
