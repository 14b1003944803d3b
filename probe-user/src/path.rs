//! The path: which checkpoints an echo packet passes, in which order, on each leg of its journey.

use std::fmt;

use probe_ebpf::{Direction, Echo, Hop};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// One way of an echo exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Leg {
    /// From the asker to the answerer.
    Request,
    /// Back from the answerer to the asker.
    Reply,
}

impl Leg {
    /// The leg that packets of this kind travel.
    pub fn of(echo: Echo) -> Self {
        match echo {
            Echo::Request => Self::Request,
            Echo::Reply => Self::Reply,
        }
    }

    /// Its name in reports and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
        }
    }
}

/// What notes a packet at a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The call that sends it, which the kernel answered without an error.
    Send,
    /// A program in the kernel.
    Hop(Hop),
}

impl Stage {
    /// Its name in reports and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Hop(hop) => hop.name(),
        }
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A network interface on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The host that it belongs to.
    pub host: String,
    /// Its name on that host.
    pub interface: String,
    /// The hop that counts what enters there.
    pub ingress: Hop,
}

/// A point of the path at which packets are counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Checkpoint {
    /// The host.
    pub host: String,
    /// What counts there.
    #[serde(rename = "hop")]
    #[schemars(with = "String")]
    pub stage: Stage,
    /// The interface; none where the packet has not reached one yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

impl Checkpoint {
    /// Where it is, without what counts there: `fw:b`, or only the host.
    pub fn place(&self) -> String {
        self.interface.as_ref().map_or_else(|| self.host.clone(), |interface| format!("{}:{interface}", self.host))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.place(), self.stage.name())
    }
}

/// The checkpoints of one leg, in the order in which a packet passes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Which leg.
    pub leg: Leg,
    /// The checkpoints, first to last.
    pub checkpoints: Vec<Checkpoint>,
}

impl Path {
    /// The leg's way over `places`, given from asker to answerer: out of the first, into the second, out of the third,
    /// and so on. A reply passes them the other way round.
    pub fn over(leg: Leg, places: &[Place]) -> Self {
        let ordered: Vec<&Place> = match leg {
            Leg::Request => places.iter().collect(),
            Leg::Reply => places.iter().rev().collect(),
        };
        let checkpoint = |(index, place): (usize, &Place)| {
            let hop = if index % 2 == 0 { Hop::TcOut } else { place.ingress };
            debug_assert!((hop.direction() == Direction::Out) == (index % 2 == 0), "{hop:?} counts the wrong way");
            Checkpoint { host: place.host.clone(), stage: Stage::Hop(hop), interface: Some(place.interface.clone()) }
        };
        Self { leg, checkpoints: ordered.into_iter().enumerate().map(checkpoint).collect() }
    }

    /// The same path, begun by the call that sends: for packets that probe itself sends.
    #[must_use]
    pub fn from_send(mut self) -> Self {
        if let Some(first) = self.checkpoints.first() {
            let send = Checkpoint { host: first.host.clone(), stage: Stage::Send, interface: None };
            self.checkpoints.insert(0, send);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Vec<Place> {
        [("a", "eth0"), ("fw", "a"), ("fw", "b"), ("b", "eth0")]
            .map(|(host, interface)| Place { host: host.into(), interface: interface.into(), ingress: Hop::XdpIn })
            .to_vec()
    }

    fn drawn(path: &Path) -> String {
        path.checkpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" > ")
    }

    #[test]
    fn a_request_goes_out_in_out_in() {
        let path = Path::over(Leg::Request, &places());
        assert_eq!(drawn(&path), "a:eth0 (tc_out) > fw:a (xdp_in) > fw:b (tc_out) > b:eth0 (xdp_in)");
    }

    #[test]
    fn a_reply_takes_the_same_way_back() {
        let path = Path::over(Leg::Reply, &places());
        assert_eq!(drawn(&path), "b:eth0 (tc_out) > fw:b (xdp_in) > fw:a (tc_out) > a:eth0 (xdp_in)");
    }

    #[test]
    fn what_probe_sends_begins_with_the_call() {
        let path = Path::over(Leg::Reply, &places()).from_send();
        assert!(drawn(&path).starts_with("b (send) > b:eth0 (tc_out) > "));
        assert_eq!(Path::over(Leg::Reply, &[]).from_send().checkpoints, []);
    }

    #[test]
    fn a_checkpoint_is_written_as_host_hop_and_interface() {
        let path = Path::over(Leg::Request, &places()).from_send();
        let json = serde_json::to_string(&path.checkpoints[..2]).expect("plain data");
        assert_eq!(json, r#"[{"host":"a","hop":"send"},{"host":"a","hop":"tc_out","interface":"eth0"}]"#);
    }
}
