//! `probe.observation/1`: the echo packets that cross one NIC, by id.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::IpAddr,
};

use probe_ebpf::{Family, Skip};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Document,
    style::{Style, Tone},
    table::{self, Column, numbers, words},
};
use crate::{
    model::attach::XdpAttachment,
    observation::{DirectionCounts, ObservationRow, RowKey},
};

/// What crossed one NIC since the watch began.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Observation {
    /// The NIC.
    pub interface: String,
    /// How XDP is attached; `off` where tc counts what enters.
    pub xdp_mode: XdpAttachment,
    /// The hop that counts what enters.
    pub counted_at: &'static str,
    /// How long it has been watched, in seconds.
    pub seconds: f64,
    /// By id.
    pub ids: Vec<IdRow>,
    /// Packets that could not be counted, by cause.
    pub skipped: BTreeMap<&'static str, u64>,
    /// The room for the text; absent if it is not limited.
    #[serde(skip)]
    pub room: Option<Room>,
}

/// The room for the text on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// How many ids are shown at most.
    pub ids: usize,
    /// How many columns a line has.
    pub columns: usize,
}

/// One id on one IP version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct IdRow {
    /// Echo id.
    pub id: u16,
    /// 4 or 6.
    pub family: u8,
    /// The far end; if there are several, the last one seen.
    pub peer: Option<IpAddr>,
    /// How many pairs of addresses use the id; absent if flows are not followed.
    pub pairs: Option<usize>,
    /// Packets that entered.
    #[serde(rename = "in")]
    pub entered: SideCounts,
    /// Packets that left.
    #[serde(rename = "out")]
    pub left: SideCounts,
    /// Incoming packets dropped by probe's own filter.
    pub dropped: u64,
    /// Requests without an answer in time; absent if flows are not followed.
    pub lost: Option<u64>,
    /// Round trips, in nanoseconds; absent if nothing was answered, or flows are not followed.
    pub rtt_ns: Option<Rtt>,
}

/// Packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SideCounts {
    /// Echo requests.
    pub requests: u64,
    /// Echo replies.
    pub replies: u64,
    /// Bytes of both.
    pub bytes: u64,
}

/// Round trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rtt {
    /// Half of them took no longer.
    pub p50: u64,
    /// 99 % of them took no longer.
    pub p99: u64,
}

impl IdRow {
    /// Converts a row of the table to one of the document.
    pub fn new((id, family): RowKey, row: &ObservationRow) -> Self {
        let rtt = row.flows.as_ref().map(|flows| &flows.rtt);
        let quantile = |part| rtt.and_then(|rtt| rtt.quantile(part));
        Self {
            id,
            family: match family {
                Family::V4 => 4,
                Family::V6 => 6,
            },
            peer: row.flows.as_ref().and_then(|flows| flows.peer),
            pairs: row.flows.as_ref().map(|flows| flows.pairs),
            entered: row.entered.into(),
            left: row.left.into(),
            dropped: row.dropped,
            lost: row.flows.as_ref().map(|flows| flows.lost),
            rtt_ns: quantile(0.5).zip(quantile(0.99)).map(|(p50, p99)| Rtt { p50, p99 }),
        }
    }

    fn packets(&self) -> u64 {
        self.entered.requests + self.entered.replies + self.left.requests + self.left.replies
    }
}

impl From<DirectionCounts> for SideCounts {
    fn from(side: DirectionCounts) -> Self {
        Self { requests: side.requests, replies: side.replies, bytes: side.bytes }
    }
}

/// Converts the skip counts to the names used in documents.
pub fn skipped(skips: &BTreeMap<Skip, u64>) -> BTreeMap<&'static str, u64> {
    skips.iter().map(|(skip, count)| (skip.name(), *count)).collect()
}

impl Document for Observation {
    const SCHEMA: &'static str = "probe.observation/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let columns = self.room.map_or(usize::MAX, |room| room.columns);
        for (tone, line) in self.lines() {
            let line: String = line.chars().take(columns).collect();
            writeln!(out, "{}", tone.map_or_else(|| line.clone(), |tone| style.paint(tone, &line)))?;
        }
        Ok(())
    }
}

type Line = (Option<Tone>, String);

impl Observation {
    fn lines(&self) -> Vec<Line> {
        let head = format!(
            "{} after {:.1} s: {}, entering packets counted at {} (XDP {})",
            self.interface,
            self.seconds,
            counted(self.ids.len(), "id", "ids"),
            self.counted_at,
            self.xdp_mode
        );
        let mut lines = vec![(Some(Tone::Strong), head)];
        lines.extend(self.table());
        if !self.skipped.is_empty() {
            let causes: Vec<_> = self.skipped.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
            lines.push((Some(Tone::Warn), format!("not counted, or not in full: {}", causes.join(", "))));
        }
        lines
    }

    /// Returns the busiest ids that fit, in the order of their ids.
    fn table(&self) -> Vec<Line> {
        if self.ids.is_empty() {
            return vec![(None, "no ICMP echo yet".to_owned())];
        }
        let mut shown: Vec<&IdRow> = self.ids.iter().collect();
        shown.sort_by_key(|row| std::cmp::Reverse(row.packets()));
        shown.truncate(self.room.map_or(usize::MAX, |room| room.ids));
        shown.sort_by_key(|row| (row.id, row.family));
        let cells: Vec<Vec<String>> = shown.iter().map(|row| row.cells()).collect();
        let (columns, cells) = fitted(cells, self.room.map_or(usize::MAX, |room| room.columns));
        let mut lines = table::lines(&columns, &cells);
        let hidden = self.ids.len() - shown.len();
        if hidden > 0 {
            lines.push((None, format!("and {} with fewer packets", counted(hidden, "id", "ids"))));
        }
        lines
    }
}

const COLUMNS: [Column; 13] = [
    numbers("id"),
    words("hex"),
    words("ip"),
    numbers("out req"),
    numbers("in rep"),
    numbers("in req"),
    numbers("out rep"),
    numbers("bytes"),
    numbers("dropped"),
    numbers("lost"),
    numbers("rtt p50"),
    numbers("rtt p99"),
    words("peer"),
];

/// The columns to leave out on a narrow terminal, in this order. The column of drops stays if there were any.
const DISPENSABLE: [usize; 6] = [1, 7, DROPPED, 11, 2, 12];
const DROPPED: usize = 8;

/// Returns the columns that fit into `width`, and their cells.
fn fitted(mut rows: Vec<Vec<String>>, width: usize) -> (Vec<Column>, Vec<Vec<String>>) {
    let mut columns = COLUMNS.to_vec();
    for index in DISPENSABLE {
        if table::width(&columns, &rows) <= width {
            break;
        }
        let Some(at) = columns.iter().position(|column| *column == COLUMNS[index]) else { continue };
        if index == DROPPED && rows.iter().any(|row| row[at] != "0") {
            continue;
        }
        columns.remove(at);
        for row in &mut rows {
            row.remove(at);
        }
    }
    (columns, rows)
}

impl IdRow {
    fn cells(&self) -> Vec<String> {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let others = self.pairs.filter(|pairs| *pairs > 1).map(|pairs| format!(" +{}", pairs - 1));
        vec![
            self.id.to_string(),
            format!("{:#06x}", self.id),
            self.family.to_string(),
            self.left.requests.to_string(),
            self.entered.replies.to_string(),
            self.entered.requests.to_string(),
            self.left.replies.to_string(),
            (self.entered.bytes + self.left.bytes).to_string(),
            self.dropped.to_string(),
            or_dash(self.lost.map(|lost| lost.to_string())),
            or_dash(self.rtt_ns.map(|rtt| table::time(rtt.p50))),
            or_dash(self.rtt_ns.map(|rtt| table::time(rtt.p99))),
            or_dash(self.peer.map(|peer| format!("{peer}{}", others.unwrap_or_default()))),
        ]
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{self, Format};

    fn observation() -> Observation {
        let row = IdRow {
            id: 43,
            family: 4,
            peer: "10.2.0.20".parse().ok(),
            pairs: Some(1),
            entered: SideCounts { requests: 0, replies: 9, bytes: 756 },
            left: SideCounts { requests: 10, replies: 0, bytes: 840 },
            dropped: 0,
            lost: Some(1),
            rtt_ns: Some(Rtt { p50: 1_250_000, p99: 31_000_000 }),
        };
        Observation {
            interface: "eth0".into(),
            xdp_mode: XdpAttachment::Generic,
            counted_at: "xdp_in",
            seconds: 2.0,
            ids: vec![row],
            skipped: BTreeMap::from([("truncated", 3)]),
            room: None,
        }
    }

    fn written(observation: &Observation, format: Format) -> String {
        let mut out = Vec::new();
        report::write(&mut out, observation, format, &Style::plain()).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn text_is_a_table_that_names_what_was_not_counted() {
        assert_eq!(
            written(&observation(), Format::Text),
            "eth0 after 2.0 s: 1 id, entering packets counted at xdp_in (XDP generic)\n\
             id  hex     ip  out req  in rep  in req  out rep  bytes  dropped  lost  rtt p50  rtt p99  peer\n\
             43  0x002b  4        10       9       0        0   1596        0     1  1.25 ms  31.0 ms  10.2.0.20\n\
             not counted, or not in full: truncated 3\n"
        );
    }

    #[test]
    fn json_has_the_documented_fields() {
        let json: serde_json::Value = serde_json::from_str(&written(&observation(), Format::Json)).expect("JSON");
        assert_eq!(json["schema"], "probe.observation/1");
        assert_eq!(json["ids"][0]["in"]["replies"], 9);
        assert_eq!(json["ids"][0]["rtt_ns"]["p99"], 31_000_000);
        assert_eq!(json["skipped"]["truncated"], 3);
        assert!(json.get("room").is_none());
    }

    #[test]
    fn the_busiest_ids_are_shown_where_room_is_short() {
        let mut observation = observation();
        let quiet =
            IdRow { id: 1, left: SideCounts::default(), entered: SideCounts::default(), ..observation.ids[0].clone() };
        observation.ids.insert(0, quiet);
        observation.room = Some(Room { ids: 1, columns: 120 });
        let text = written(&observation, Format::Text);
        assert!(text.contains("\n43 ") && !text.contains("\n1 ") && text.contains("and 1 id with fewer"), "{text}");
    }

    #[test]
    fn a_narrow_terminal_does_without_what_matters_least() {
        let mut observation = observation();
        observation.room = Some(Room { ids: 10, columns: 80 });
        let text = written(&observation, Format::Text);
        let row = "43  4        10       9       0        0     1  1.25 ms  31.0 ms  10.2.0.20";
        assert!(text.contains(row), "{text}");
        observation.ids[0].dropped = 5;
        observation.room = Some(Room { ids: 10, columns: 20 });
        let text = written(&observation, Format::Text);
        assert!(text.lines().all(|line| line.chars().count() <= 20), "{text}");
        observation.room = Some(Room { ids: 10, columns: 60 });
        assert!(written(&observation, Format::Text).contains("dropped"), "what was dropped is told");
    }
}
