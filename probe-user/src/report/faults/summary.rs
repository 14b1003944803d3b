//! The score by where the faults lie: a table of a few lines.

use std::io::{self, Write};

use serde::Serialize;

use super::FaultCase;
use crate::report::{
    style::{Style, Tone},
    table,
};

/// The results of the cases of one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct PlaceScore {
    /// `nothing`, `sender`, `network`, `between`, `receiver`: where on the leg the faults lie.
    pub place: &'static str,
    /// The leg; none for healthy paths.
    pub leg: Option<&'static str>,
    /// Over IPv4.
    pub ipv4: Tried,
    /// Over IPv6.
    pub ipv6: Tried,
}

/// How many cases came out right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Tried {
    /// How many did.
    pub right: usize,
    /// How many were tried.
    pub total: usize,
}

/// The places in the order in which a ping passes them, and their names for people.
const PLACES: [(&str, Option<&str>, &str); 9] = [
    ("sender", Some("request"), "this host, requests going out"),
    ("network", Some("request"), "the network, requests"),
    ("between", Some("request"), "places in between, requests"),
    ("receiver", Some("request"), "the peer, requests coming in"),
    ("sender", Some("reply"), "the peer, replies going out"),
    ("network", Some("reply"), "the network, replies"),
    ("between", Some("reply"), "places in between, replies"),
    ("receiver", Some("reply"), "this host, replies coming in"),
    ("nothing", None, "healthy paths"),
];

/// Returns the scores of `cases` in path order, healthy paths last, without places that have no case.
pub fn summary(cases: &[FaultCase]) -> Vec<PlaceScore> {
    let score = |(place, leg, _): &(&'static str, Option<&'static str>, &str)| {
        let here = |case: &&FaultCase| case.place == *place && (leg.is_none() || case.leg == *leg);
        let tried = |family: u8| {
            let cases: Vec<_> = cases.iter().filter(here).filter(|case| case.family == family).collect();
            Tried { right: cases.iter().filter(|case| case.located).count(), total: cases.len() }
        };
        PlaceScore { place, leg: *leg, ipv4: tried(4), ipv6: tried(6) }
    };
    PLACES.iter().map(score).filter(|score| score.ipv4.total + score.ipv6.total > 0).collect()
}

/// Writes the table.
pub(super) fn write(out: &mut dyn Write, style: &Style, scores: &[PlaceScore]) -> io::Result<()> {
    let name = |score: &PlaceScore| {
        let place = PLACES.iter().find(|(place, leg, _)| *place == score.place && *leg == score.leg);
        place.map_or(score.place, |(.., name)| name).to_owned()
    };
    let rows: Vec<Vec<String>> =
        scores.iter().map(|score| vec![name(score), score.ipv4.cell(), score.ipv6.cell()]).collect();
    let columns = [table::words("where"), table::numbers("IPv4"), table::numbers("IPv6")];
    for (index, (tone, line)) in table::lines(&columns, &rows).into_iter().enumerate() {
        let right = index == 0 || [scores[index - 1].ipv4, scores[index - 1].ipv6].iter().all(|tried| tried.is_whole());
        let tone = if right { tone } else { Some(Tone::Bad) };
        writeln!(out, "{}", tone.map_or_else(|| line.clone(), |tone| style.paint(tone, &line)))?;
    }
    Ok(())
}

impl Tried {
    fn cell(self) -> String {
        if self.total == 0 { String::new() } else { format!("{} of {}", self.right, self.total) }
    }

    fn is_whole(self) -> bool {
        self.right == self.total
    }
}
