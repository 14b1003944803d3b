//! `probe.filters/1`: the rules of probe's filters, and what each dropped.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Document,
    guard::{self, GuardRow},
    style::{Style, Tone},
    table::{self, Column, numbers, words},
};

/// The rules of one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Filters {
    /// The rules, by interface and number.
    pub filters: Vec<FilterRow>,
    /// The guards, by interface.
    pub guards: Vec<GuardRow>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FilterRow {
    /// Its number on its interface.
    pub number: u32,
    /// The interface.
    pub interface: String,
    /// Always `in`: the filter is at XDP ingress.
    pub direction: &'static str,
    /// How XDP is attached there: `native`, `generic`, or `unknown`.
    pub xdp_mode: &'static str,
    /// What it matches.
    #[serde(rename = "match")]
    pub matches: Match,
    /// What it does: `drop`.
    pub action: &'static str,
    /// Packets that it dropped.
    pub hits: u64,
    /// Bytes of those, IP headers included.
    pub hit_bytes: u64,
    /// Packets that it would have dropped: those it dropped, and none more, for a rule that drops.
    pub would_drop: u64,
    /// Seconds since the last hit; none where there was none.
    pub last_hit_s_ago: Option<u64>,
    /// Seconds until it ends; 0: it has ended; none: it holds until it is removed.
    pub expires_in_s: Option<u64>,
    /// The user who added it.
    pub added_by_uid: u32,
    /// When: seconds since 1970.
    pub added_unix_s: u64,
}

/// What a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Match {
    /// `request`, `reply` or `both`.
    #[serde(rename = "type")]
    pub types: &'static str,
    /// The first id.
    pub id_first: u16,
    /// The last id, which belongs to it.
    pub id_last: u16,
    /// 4 or 6; none: both.
    pub family: Option<u8>,
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
            let text = "a rule that has ended drops nothing; probe filter remove or clear takes it away";
            writeln!(out, "{}", style.paint(Tone::Dim, text))?;
        }
        Ok(())
    }
}

const COLUMNS: [Column; 10] = [
    numbers("no"),
    words("interface"),
    words("drops"),
    words("id"),
    words("ip"),
    numbers("hits"),
    words("last hit"),
    words("ends"),
    words("XDP"),
    words("added"),
];

impl FilterRow {
    fn cells(&self) -> Vec<String> {
        let ends = match self.expires_in_s {
            None => "when removed".to_owned(),
            Some(0) => "has ended".to_owned(),
            Some(seconds) => format!("in {seconds} s"),
        };
        vec![
            self.number.to_string(),
            self.interface.clone(),
            match self.matches.types {
                "both" => "requests and replies".to_owned(),
                "reply" => "replies".to_owned(),
                _ => "requests".to_owned(),
            },
            self.matches.ids(),
            self.matches.family.map_or_else(|| "4 and 6".to_owned(), |family| family.to_string()),
            self.hits.to_string(),
            self.last_hit_s_ago.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds} s ago")),
            ends,
            self.xdp_mode.to_owned(),
            format!("{} by uid {}", table::date(self.added_unix_s), self.added_by_uid),
        ]
    }
}

impl Match {
    fn ids(&self) -> String {
        match (self.id_first, self.id_last) {
            (0, u16::MAX) => "all".to_owned(),
            (first, last) if first == last => format!("{first} ({first:#x})"),
            (first, last) => format!("{first}-{last}"),
        }
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
            direction: "in",
            xdp_mode: "native",
            matches: Match { types: "reply", id_first: 43, id_last: 43, family: None },
            action: "drop",
            hits: 5,
            hit_bytes: 420,
            would_drop: 5,
            last_hit_s_ago: Some(2),
            expires_in_s: Some(58),
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
        assert!(text.contains(" 1  eth0       replies  43 (0x2b)  4 and 6     5  2 s ago   in 58 s  native"), "{text}");
        assert!(text.contains("2023-11-14 22:13:20 UTC by uid 0"), "{text}");
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
