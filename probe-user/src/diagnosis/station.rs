//! The words of a path: places, the stations in them, and the steps from one to the next.

use probe_ebpf::Echo;
use probe_ebpf::Hop;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// A place that was watched: one network namespace on one kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The sender of the probes.
    Local,
    /// A place that they cross in between, or end in, by its number among [`super::Evidence::places`].
    Via(u8),
    /// The far end.
    Peer,
}

/// What notes a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Station {
    /// The send call, refused or not.
    Send,
    /// A program in the kernel.
    Hop(Hop),
    /// The program that reads the reply.
    Recv,
    /// The device of a tunnel, which encapsulates probes.
    Encap,
    /// The device of a tunnel, which decapsulates them again.
    Decap,
    /// A program in the kernel that sees every network namespace, at this one of a place's interfaces, by its number
    /// among [`crate::model::trace::PlaceTrace::ports`]; or at [`ANY_PORT`].
    Port(Hop, u8),
}

/// For [`Station::Port`]: any interface of the place.
pub const ANY_PORT: u8 = u8::MAX;

/// A station on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Checkpoint {
    /// The host.
    pub host: Side,
    /// What notes probes there.
    #[serde(rename = "hop")]
    pub station: Station,
}

/// What the silence of a hop means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Every probe passes it: one that does not has stopped.
    Must,
    /// Probes may bypass it: it proves presence, never absence.
    May,
}

/// One step of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// The leg it belongs to.
    pub leg: Echo,
    /// Where.
    pub checkpoint: Checkpoint,
    /// What its silence means.
    pub duty: Requirement,
}

impl Station {
    /// Returns the station's name in reports and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Hop(hop) | Self::Port(hop, _) => hop.name(),
            Self::Recv => "recv",
            Self::Encap => "encap",
            Self::Decap => "decap",
        }
    }

    /// Returns the station with this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "send" => Some(Self::Send),
            "recv" => Some(Self::Recv),
            "encap" => Some(Self::Encap),
            "decap" => Some(Self::Decap),
            name => Hop::named(name).map(Self::Hop),
        }
    }
}

impl Side {
    /// Returns its name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Via(_) => "via",
            Self::Peer => "peer",
        }
    }
}

impl Serialize for Side {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl JsonSchema for Side {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Side".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": ["local", "via", "peer"] })
    }
}

impl Serialize for Station {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl JsonSchema for Station {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hop".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let hops = probe_ebpf::hop::HOPS.iter().map(|row| row.name);
        let names: Vec<&str> = ["send"].into_iter().chain(hops).chain(["recv", "encap", "decap"]).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

/// Returns a step of a leg at a station of `host`.
pub(super) fn step(leg: Echo, host: Side, station: Station, duty: Requirement) -> PathStep {
    PathStep { leg, checkpoint: Checkpoint { host, station }, duty }
}
