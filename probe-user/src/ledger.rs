//! The ledger: what each checkpoint of a path counted, and where by these counts the packets stop.
//!
//! It knows sums only, for the checkpoints of a lab count other people's packets too, which have no number.
//! [`crate::diagnosis::ledger`] follows each probe of a run by itself; the two are kept apart for that.

use std::fmt;

use schemars::JsonSchema;
use serde::{Serialize, Serializer, ser::SerializeSeq};

use crate::path::{Checkpoint, Leg, Path, Stage};

/// What is known at one checkpoint: exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// So many packets, at least one.
    Seen(u64),
    /// It was watched, and none came.
    Missing,
    /// It could not be watched, for this reason. It is never called missing.
    Blind(String),
}

impl Sight {
    /// What a counter that shows `packets` means.
    pub fn counted(packets: u64) -> Self {
        if packets == 0 { Self::Missing } else { Self::Seen(packets) }
    }

    /// The number of packets, where there is one.
    pub fn packets(&self) -> Option<u64> {
        match self {
            Self::Seen(packets) => Some(*packets),
            Self::Missing => Some(0),
            Self::Blind(_) => None,
        }
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seen(packets) => write!(f, "{packets}"),
            Self::Missing => f.write_str("0"),
            Self::Blind(why) => write!(f, "blind: {why}"),
        }
    }
}

/// In which part of a network stack packets stop (contract: `stops[].layer`), as far as counts can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Between two network interfaces: on a wire, or in a box that forwards.
    Path,
    /// At XDP of the interface.
    Xdp,
}

/// How sure a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// It leans on a stretch of the path that nobody watched.
    Likely,
    /// Counters at both sides of the gap, with nothing blind between them.
    Certain,
}

/// One checkpoint and what is known there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Where.
    pub checkpoint: Checkpoint,
    /// What it counted.
    pub sight: Sight,
}

/// One leg's checkpoints, in path order, with what each counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Which leg.
    pub leg: Leg,
    /// The checkpoints, first to last.
    pub rows: Vec<Row>,
}

/// A gap: packets that were seen at one checkpoint and not at the next one that could have seen them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Which leg.
    pub leg: Leg,
    /// How many packets went missing here.
    pub packets: u64,
    /// The last checkpoint that saw them.
    pub last_seen: Checkpoint,
    /// The first checkpoint that watched and did not see them.
    pub first_missing: Checkpoint,
    /// What lies between the two and could not be watched, with the reason.
    pub blind: Vec<(Checkpoint, String)>,
}

impl Ledger {
    /// The counts of `path`, in its order. A checkpoint without a count is blind.
    pub fn new(path: Path, sights: impl IntoIterator<Item = Sight>) -> Self {
        let mut sights = sights.into_iter();
        let row = |checkpoint| {
            let sight = sights.next().unwrap_or_else(|| Sight::Blind("not read".into()));
            Row { checkpoint, sight }
        };
        Self { leg: path.leg, rows: path.checkpoints.into_iter().map(row).collect() }
    }

    /// Where packets stop, most packets first.
    ///
    /// A packet that a later checkpoint saw has passed every earlier one, whatever the earlier one counted; so each
    /// checkpoint is taken to have seen as many as the best of itself and those after it, and only a fall in *that*
    /// is a stop. Blind checkpoints say nothing, and a path that ends blind has no stop there.
    pub fn stops(&self) -> Vec<Stop> {
        let watched = self.passed();
        let mut stops: Vec<Stop> =
            watched.windows(2).filter(|pair| pair[0].1 > pair[1].1).map(|pair| self.stop(pair[0], pair[1])).collect();
        stops.sort_by_key(|stop| std::cmp::Reverse(stop.packets));
        stops
    }

    /// For every checkpoint that was watched: its row, and how many packets passed it for certain.
    fn passed(&self) -> Vec<(usize, u64)> {
        let mut best = 0;
        let mut passed: Vec<(usize, u64)> = self
            .rows
            .iter()
            .enumerate()
            .rev()
            .filter_map(|(index, row)| row.sight.packets().map(|packets| (index, packets)))
            .map(|(index, packets)| {
                best = best.max(packets);
                (index, best)
            })
            .collect();
        passed.reverse();
        passed
    }

    fn stop(&self, (last, before): (usize, u64), (first, after): (usize, u64)) -> Stop {
        let blind = self.rows[last + 1..first].iter().filter_map(|row| match &row.sight {
            Sight::Blind(why) => Some((row.checkpoint.clone(), why.clone())),
            Sight::Seen(_) | Sight::Missing => None,
        });
        Stop {
            leg: self.leg,
            packets: before - after,
            last_seen: self.rows[last].checkpoint.clone(),
            first_missing: self.rows[first].checkpoint.clone(),
            blind: blind.collect(),
        }
    }
}

impl Stop {
    /// The host where the packets stop, or `network` where they left one host and did not enter the next.
    pub fn host(&self) -> &str {
        if self.last_seen.host == self.first_missing.host { &self.last_seen.host } else { "network" }
    }

    /// The layer, where the two checkpoints leave only one; nothing where several lie between them.
    pub fn layer(&self) -> Option<Layer> {
        use probe_ebpf::Hop::{TcIn, TcOut, XdpIn};
        match (self.last_seen.stage, self.first_missing.stage) {
            _ if self.host() == "network" => Some(Layer::Path),
            (Stage::Hop(XdpIn | TcIn), Stage::Hop(TcOut)) => Some(Layer::Path),
            (Stage::Hop(XdpIn), Stage::Hop(TcIn)) => Some(Layer::Xdp),
            _ => None,
        }
    }

    /// Certain, unless something between the two checkpoints is blind.
    pub fn confidence(&self) -> Confidence {
        if self.blind.is_empty() { Confidence::Certain } else { Confidence::Likely }
    }
}

/// A blind checkpoint of a stop, as a document shows it.
#[derive(Serialize, JsonSchema)]
struct BlindSpot<'a> {
    #[serde(flatten)]
    checkpoint: &'a Checkpoint,
    why: &'a str,
}

struct BlindSpots<'a>(&'a [(Checkpoint, String)]);

impl Serialize for BlindSpots<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (checkpoint, why) in self.0 {
            list.serialize_element(&BlindSpot { checkpoint, why })?;
        }
        list.end()
    }
}

/// A stop as the contract writes it.
#[derive(Serialize, JsonSchema)]
struct StopEntry<'a> {
    leg: Leg,
    host: &'a str,
    layer: Option<Layer>,
    packets: u64,
    last_seen: &'a Checkpoint,
    first_missing: &'a Checkpoint,
    confidence: Confidence,
    witnesses: [&'static str; 1],
    #[schemars(with = "Vec<BlindSpot<'static>>")]
    blind: BlindSpots<'a>,
}

impl Serialize for Stop {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entry = StopEntry {
            leg: self.leg,
            host: self.host(),
            layer: self.layer(),
            packets: self.packets,
            last_seen: &self.last_seen,
            first_missing: &self.first_missing,
            confidence: self.confidence(),
            witnesses: ["counters"],
            blind: BlindSpots(&self.blind),
        };
        entry.serialize(serializer)
    }
}

impl JsonSchema for Stop {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Stop".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        StopEntry::json_schema(generator)
    }
}

#[cfg(test)]
mod tests;
