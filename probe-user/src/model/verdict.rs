//! The terms of a verdict: how a run ended, where packets stop, and how sure that is (the contract of
//! `probe.diagnosis/1`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Another place that was watched: a network namespace of a watched kernel, which is neither end.
    Via,
    /// Between two watched places.
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
    /// The device of a tunnel.
    Tunnel,
}

impl Outcome {
    /// Returns its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Stopped => "stopped",
            Self::Lossy => "lossy",
            Self::Altered => "altered",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl Confidence {
    /// Returns its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

impl StopHost {
    /// Returns its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Network => "network",
            Self::Peer => "peer",
            Self::Via => "via",
            Self::Beyond => "beyond",
        }
    }
}

impl Layer {
    /// Returns its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Route => "route",
            Self::Netfilter => "netfilter",
            Self::Cgroup => "cgroup",
            Self::Neighbour => "neighbour",
            Self::Qdisc => "qdisc",
            Self::Tc => "tc",
            Self::Driver => "driver",
            Self::Xdp => "xdp",
            Self::Ip => "ip",
            Self::Icmp => "icmp",
            Self::Path => "path",
            Self::Tunnel => "tunnel",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documents() {
        fn same<T: Copy + Serialize>(all: &[T], name: fn(T) -> &'static str) {
            all.iter().for_each(|one| assert_eq!(serde_json::to_value(one).expect("JSON"), name(*one)));
        }
        use {Confidence as C, Layer as L, Outcome as O, StopHost as S};
        same(&[O::Delivered, O::Stopped, O::Lossy, O::Altered, O::Inconclusive], O::name);
        same(&[C::Unknown, C::Likely, C::Certain], C::name);
        same(&[S::Local, S::Network, S::Peer, S::Beyond], S::name);
        same(
            &[
                L::Socket,
                L::Route,
                L::Netfilter,
                L::Cgroup,
                L::Neighbour,
                L::Qdisc,
                L::Tc,
                L::Driver,
                L::Xdp,
                L::Ip,
                L::Icmp,
                L::Path,
            ],
            L::name,
        );
    }
}
