//! `probe.filters/1`: the rules of probe's filters, and what each dropped.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use probe_ebpf::Direction;

use crate::{
    filter::rules::RuleAction,
    model::attach::{FilterEffect, FilterSite},
};

use super::{
    Document,
    guard::{self, GuardRow},
    style::{Style, Tone},
    table::{self, Column, numbers, words},
};

/// The rules of one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Filters {
    /// The rules, by interface and direction, in the order in which they are tried.
    pub filters: Vec<FilterRow>,
    /// The guards, by interface.
    pub guards: Vec<GuardRow>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct FilterRow {
    /// Its number on its interface.
    pub number: u32,
    /// The interface.
    pub interface: String,
    /// Which packets it is for: `in`, those that enter, or `out`, those that leave.
    pub direction: Direction,
    /// From 1 on: the rules of one interface and direction are tried in this order, and the first that matches decides.
    pub position: u32,
    /// Where packets meet it: `xdp`, `tcx` or `clsact`.
    pub hook: FilterSite,
    /// How XDP is attached there: `native`, `generic`, or `unknown`; `off` at another hook.
    pub xdp_mode: &'static str,
    /// What it matches.
    #[serde(rename = "match")]
    pub matches: MatchReport,
    /// What it does: `drop`, `pass`, or `count` what it would drop.
    pub action: FilterEffect,
    /// Which of the packets that it matches it drops or counts; absent: all of them, or none if it lets them pass.
    pub which: Option<SelectionReport>,
    /// Packets that it matched.
    pub hits: u64,
    /// Packets that it dropped, or would have dropped if it only counts.
    pub would_drop: u64,
    /// Packets that it dropped.
    pub dropped: u64,
    /// Bytes of those, IP headers included.
    pub dropped_bytes: u64,
    /// Seconds since the last hit; absent if there was none.
    pub last_hit_s_ago: Option<u64>,
    /// Seconds until it ends; 0: it has ended; absent: it holds until it is removed.
    pub expires_in_s: Option<u64>,
    /// Whether a command holds it and extends its time while it runs.
    pub until_exit: bool,
    /// The user who added it.
    pub added_by_uid: u32,
    /// When: seconds since 1970.
    pub added_unix_s: u64,
}

/// What a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MatchReport {
    /// `request`, `reply` or `both`.
    #[serde(rename = "type")]
    pub types: &'static str,
    /// The first id.
    pub id_first: u16,
    /// The last id, inclusive.
    pub id_last: u16,
    /// 4 or 6; absent: both.
    pub family: Option<u8>,
    /// Sequence numbers; absent: all.
    pub seq: Option<Range>,
    /// Bytes after the ICMP header; absent: any.
    pub payload_bytes: Option<Range>,
    /// Source addresses, as `10.0.0.0/8`; absent: all.
    pub source: Option<String>,
    /// Destination addresses; absent: all.
    pub destination: Option<String>,
    /// Whether it matches echo inside the packets of tunnels, and no other.
    pub inner: bool,
}

/// A range of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Range {
    /// The first.
    pub first: u16,
    /// The last, inclusive.
    pub last: u16,
}

/// Which of the packets that a rule matches it drops.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SelectionReport {
    /// `every` nth, each with a `probability`, the `first` n, those `after` the first n, or those over a `rate` a second.
    pub by: &'static str,
    /// The n, the probability, or the rate.
    pub value: f64,
    /// For a rate: the size of a burst, in packets.
    pub burst: Option<u64>,
    #[serde(skip)]
    text: String,
}

impl SelectionReport {
    /// Returns how `action` chooses packets, or `None` if it drops all or none.
    pub fn of(action: RuleAction) -> Option<Self> {
        let (by, value, burst) = match action {
            RuleAction::Drop | RuleAction::Pass => return None,
            RuleAction::Every(count) => ("every", count as f64, None),
            RuleAction::Chance(probability) => ("probability", probability.get(), None),
            RuleAction::First(count) => ("first", count as f64, None),
            RuleAction::After(count) => ("after", count as f64, None),
            RuleAction::Rate(rate) => ("rate", rate.per_second as f64, Some(rate.burst)),
        };
        Some(Self { by, value, burst, text: action.to_string() })
    }
}

impl Document for Filters {
    const SCHEMA: &'static str = "probe.filters/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        guard::write(out, style, &self.guards)?;
        if self.filters.is_empty() && !self.guards.is_empty() {
            return Ok(());
        }
        if self.filters.is_empty() {
            return writeln!(out, "no rules in this network namespace");
        }
        let rows: Vec<_> = self.filters.iter().map(FilterRow::cells).collect();
        table::write(out, style, &COLUMNS, &rows)?;
        if self.filters.iter().any(|row| row.expires_in_s == Some(0)) {
            let text = "a rule that has ended drops nothing; remove it with probe filter remove or clear";
            writeln!(out, "{}", style.paint(Tone::Dim, text))?;
        }
        Ok(())
    }
}

const COLUMNS: [Column; 11] = [
    numbers("no"),
    words("interface"),
    words("way"),
    words("matches"),
    words("does"),
    numbers("hits"),
    numbers("dropped"),
    words("last hit"),
    words("ends"),
    words("hook"),
    words("added"),
];

impl FilterRow {
    fn cells(&self) -> Vec<String> {
        vec![
            self.number.to_string(),
            self.interface.clone(),
            self.direction.name().to_owned(),
            self.matches.sentence(),
            self.does(),
            self.hits.to_string(),
            match self.action {
                FilterEffect::Count => format!("0 of {}", self.would_drop),
                _ => self.dropped.to_string(),
            },
            self.last_hit_s_ago.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds} s ago")),
            self.ends(),
            match self.hook {
                FilterSite::Xdp => format!("XDP {}", self.xdp_mode),
                hook => hook.name().to_owned(),
            },
            format!("{} by uid {}", table::date(self.added_unix_s), self.added_by_uid),
        ]
    }

    fn does(&self) -> String {
        let which = self.which.as_ref().map(|which| format!(" {}", which.text)).unwrap_or_default();
        match self.action {
            FilterEffect::Pass => "passes".to_owned(),
            FilterEffect::Count => format!("only counts{which}"),
            FilterEffect::Drop => format!("drops{which}"),
        }
    }

    fn ends(&self) -> String {
        match self.expires_in_s {
            None => "when removed".to_owned(),
            Some(0) => "has ended".to_owned(),
            Some(_) if self.until_exit => "with its command".to_owned(),
            Some(seconds) => format!("in {seconds} s"),
        }
    }
}

impl MatchReport {
    /// Describes the match: `replies, id 43 (0x2b), IPv4, from 10.0.0.0/8`.
    fn sentence(&self) -> String {
        let types = match self.types {
            "both" => "requests and replies",
            "reply" => "replies",
            _ => "requests",
        };
        let ids = match (self.id_first, self.id_last) {
            (0, u16::MAX) => None,
            (first, last) if first == last => Some(format!("id {first} ({first:#x})")),
            (first, last) => Some(format!("ids {first}-{last}")),
        };
        let parts = [
            ids,
            self.family.map(|family| format!("IPv{family}")),
            self.seq.map(|seq| format!("seq {}", seq.text())),
            self.payload_bytes.map(|bytes| format!("{} bytes", bytes.text())),
            self.source.as_ref().map(|source| format!("from {source}")),
            self.destination.as_ref().map(|destination| format!("to {destination}")),
        ];
        let inside = self.inner.then(|| "inside tunnels".to_owned());
        std::iter::once(types.to_owned())
            .chain(inside)
            .chain(parts.into_iter().flatten())
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Range {
    fn text(self) -> String {
        if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{self, Format};

    fn filters() -> Filters {
        let row = FilterRow {
            number: 1,
            interface: "eth0".into(),
            direction: Direction::In,
            position: 1,
            hook: FilterSite::Xdp,
            xdp_mode: "native",
            matches: MatchReport {
                types: "reply",
                id_first: 43,
                id_last: 43,
                family: None,
                seq: Some(Range { first: 1, last: 9 }),
                payload_bytes: None,
                source: Some("10.0.0.0/8".into()),
                destination: None,
                inner: false,
            },
            action: FilterEffect::Drop,
            which: SelectionReport::of(RuleAction::Every(3)),
            hits: 15,
            would_drop: 5,
            dropped: 5,
            dropped_bytes: 420,
            last_hit_s_ago: Some(2),
            expires_in_s: Some(58),
            until_exit: false,
            added_by_uid: 0,
            added_unix_s: 1_700_000_000,
        };
        Filters { filters: vec![row], ..Filters::default() }
    }

    fn written(filters: &Filters, format: Format) -> String {
        let mut out = Vec::new();
        report::write(&mut out, filters, format, &Style::plain()).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn text_says_what_is_dropped_until_when() {
        let text = written(&filters(), Format::Text);
        let line = " 1  eth0       in   replies, id 43 (0x2b), seq 1-9, from 10.0.0.0/8  drops 1 of 3    15        5  2 s ago   \
                    in 58 s  XDP native  ";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("2023-11-14 22:13:20 UTC by uid 0"), "{text}");
    }

    #[test]
    fn a_rule_that_only_counts_says_so_and_one_that_is_held_too() {
        let mut held = filters();
        let row = &mut held.filters[0];
        (row.action, row.dropped, row.until_exit) = (FilterEffect::Count, 0, true);
        let text = written(&held, Format::Text);
        assert!(text.contains("only counts 1 of 3    15   0 of 5  2 s ago   with its command"), "{text}");
    }

    #[test]
    fn no_rules_is_a_sentence() {
        assert_eq!(written(&Filters::default(), Format::Text), "no rules in this network namespace\n");
    }

    #[test]
    fn json_has_the_documented_fields() {
        let json: serde_json::Value = serde_json::from_str(&written(&filters(), Format::Json)).expect("JSON");
        let row = &json["filters"][0];
        assert_eq!((&json["schema"], &row["match"]["type"]), (&"probe.filters/1".into(), &"reply".into()));
        for field in ["number", "interface", "direction", "match", "action", "hits", "would_drop", "expires_in_s"] {
            assert!(row.get(field).is_some(), "{field}");
        }
    }
}
