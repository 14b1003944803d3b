//! `probe.faults/1`: the faults, the expected and the actual diagnosis of each, and the score.

mod list;
mod summary;

use std::io::{self, Write};

use serde::Serialize;

pub use self::{
    list::{Beside, FaultList, FaultRow},
    summary::{PlaceScore, Tried, summary},
};
use super::{
    Document,
    style::{Style, Tone},
};

/// The result of a run over the catalogue.
#[derive(Debug, Default, Serialize, schemars::JsonSchema)]
pub struct FaultsReport {
    /// The cases that were run, in their order.
    pub cases: Vec<FaultCase>,
    /// The scores by the place of the faults.
    pub summary: Vec<PlaceScore>,
    /// How many of them the diagnosis got right, healthy ones included.
    pub located: usize,
    /// How many there are.
    pub total: usize,
    /// How many healthy paths were blamed.
    pub false_stops: usize,
    /// The cases that could not be run here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// How ping fared beside them, if it was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping: Option<PingScore>,
    /// How many cases were not reached before the run was interrupted.
    pub unreached: usize,
    /// How long the run took, in seconds.
    pub seconds: f64,
    /// How much of it the text shows.
    #[serde(skip)]
    pub detail: FaultsDetail,
}

/// How often ping was answered like the diagnosis with the same flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct PingScore {
    /// How often it was.
    pub alike: usize,
    /// Of how many.
    pub total: usize,
    /// How many cases toss a coin, so that no two runs need be alike.
    pub coins: usize,
    /// How many send what ping cannot.
    pub unlike: usize,
}

/// How much of a run the text shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FaultsDetail {
    /// A line for each case, then the summary.
    #[default]
    Cases,
    /// What went wrong and what was not tried, then the summary.
    Summary,
}

/// One case.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct FaultCase {
    /// Its name.
    pub name: String,
    /// IP version, 4 or 6.
    pub family: u8,
    /// Where on its leg the fault lies: `nothing`, `sender`, `network`, `receiver`, or `between` for a place that is neither
    /// end.
    pub place: &'static str,
    /// `request` or `reply`; none for a healthy path.
    pub leg: Option<&'static str>,
    /// What is wrong, in a few words.
    pub title: String,
    /// What the diagnosis must say.
    pub expected: ExpectedVerdict,
    /// What it said; absent if there was no diagnosis.
    pub got: Option<DiagnosisSummary>,
    /// Whether that is right.
    pub located: bool,
    /// Whether a healthy path was blamed.
    pub false_stop: bool,
    /// What is wrong, one clause each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
    /// What was wrong in a first attempt in another lab; empty if there was only one attempt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first_try: Vec<String>,
    /// The whole diagnosis, if it is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<serde_json::Value>,
    /// Where ping was answered otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping: Option<String>,
    /// How long the diagnosis took, in seconds, or the whole case if there was none.
    pub seconds: f64,
}

/// What a diagnosis must say: any of the listed values, or anything if a list is empty.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct ExpectedVerdict {
    /// Outcomes.
    pub outcome: Vec<String>,
    /// Legs.
    pub leg: Vec<String>,
    /// Sides.
    pub host: Vec<String>,
    /// Places, by the names that the case's scene gives its hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub place: Vec<String>,
    /// Layers; empty if no stop may be reported.
    pub layer: Vec<String>,
    /// Drop reasons.
    pub reason: Vec<String>,
    /// Netfilter hooks.
    pub hook: Vec<String>,
    /// Netfilter chains.
    pub chain: Vec<String>,
    /// The lowest confidence that is allowed.
    pub confidence: String,
}

/// What a diagnosis said, in the contract's words.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct DiagnosisSummary {
    /// Outcome.
    pub outcome: String,
    /// Leg of the first stop.
    pub leg: Option<String>,
    /// Its side.
    pub host: Option<String>,
    /// Its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Its layer.
    pub layer: Option<String>,
    /// Its drop reason.
    pub reason: Option<String>,
    /// The function that dropped.
    pub function: Option<String>,
    /// Its netfilter hook.
    pub hook: Option<String>,
    /// Its netfilter chain.
    pub chain: Option<String>,
    /// How sure it is.
    pub confidence: String,
}

/// A case that could not be run here.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// IP version, 4 or 6.
    pub family: u8,
    /// Why.
    pub why: String,
}

impl ExpectedVerdict {
    /// Describes it in one line: `stopped: request peer netfilter (NETFILTER_DROP, input)`.
    fn line(&self) -> String {
        let words = [&self.leg, &self.host, &self.place, &self.layer].map(|list| list.join("|"));
        let more: Vec<String> = [&self.reason, &self.hook].iter().map(|list| list.join("|")).collect();
        line(&self.outcome.join("|"), &words, &more)
    }
}

impl DiagnosisSummary {
    fn line(&self) -> String {
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        let words = [&self.leg, &self.host, &self.place, &self.layer].map(word);
        line(&self.outcome, &words, &[word(&self.reason), word(&self.hook)])
    }
}

fn line(outcome: &str, place: &[String], more: &[String]) -> String {
    let there = |words: &[String], between: &str| {
        words.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join(between)
    };
    let (place, more) = (there(place, " "), there(more, ", "));
    let place = if place.is_empty() { place } else { format!(": {place}") };
    let more = if more.is_empty() { more } else { format!(" ({more})") };
    format!("{outcome}{place}{more}")
}

impl Document for FaultsReport {
    const SCHEMA: &'static str = "probe.faults/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let widest = self.cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
        let shown = |case: &&FaultCase| {
            self.detail == FaultsDetail::Cases || !case.located || !case.first_try.is_empty() || case.ping.is_some()
        };
        for case in self.cases.iter().filter(shown) {
            case.write(out, style, widest)?;
        }
        for case in &self.left_out {
            let line = format!("- {:widest$}  IPv{}  not tried: {}", case.name, case.family, case.why);
            writeln!(out, "{}", style.paint(Tone::Dim, &line))?;
        }
        let above = self.cases.iter().filter(shown).count() + self.left_out.len();
        if above > 0 {
            writeln!(out)?;
        }
        summary::write(out, style, &self.summary)?;
        let good = self.is_clean();
        writeln!(out, "\n{}", style.paint(if good { Tone::Good } else { Tone::Bad }, &self.score()))?;
        if self.unreached > 0 {
            let line = format!("Interrupted: {} cases were not tried.", self.unreached);
            writeln!(out, "{}", style.paint(Tone::Warn, &line))?;
        }
        Ok(())
    }
}

impl FaultCase {
    fn write(&self, out: &mut dyn Write, style: &Style, widest: usize) -> io::Result<()> {
        let mark = match self.located {
            true => style.paint(Tone::Good, style.either("✓", "+")),
            false => style.paint(Tone::Bad, style.either("✗", "x")),
        };
        let got = self.got.as_ref().map_or_else(|| "no diagnosis".into(), DiagnosisSummary::line);
        writeln!(out, "{mark} {:widest$}  IPv{}  {:5.2} s  {got}", self.name, self.family, self.seconds)?;
        for clause in &self.first_try {
            writeln!(out, "    {}", style.paint(Tone::Warn, &format!("first attempt {clause}")))?;
        }
        if let Some(clause) = &self.ping {
            writeln!(out, "    unlike    {}", style.paint(Tone::Bad, clause))?;
        }
        if self.located {
            return Ok(());
        }
        writeln!(out, "    {}", style.paint(Tone::Dim, &self.title))?;
        writeln!(out, "    expected  {}", self.expected.line())?;
        for clause in &self.wrong {
            writeln!(out, "    wrong     {}", style.paint(Tone::Bad, clause))?;
        }
        if let Some(sentence) = self.diagnosis.as_ref().and_then(|said| said["verdict"]["sentence"].as_str()) {
            writeln!(out, "    said      {sentence}")?;
        }
        Ok(())
    }
}

impl FaultsReport {
    /// Returns whether every case that was run came out right, and no healthy path was blamed.
    pub fn is_clean(&self) -> bool {
        let alike = self.ping.is_none_or(|ping| ping.alike == ping.total);
        self.located == self.total && self.false_stops == 0 && alike
    }

    /// Returns the score in one line.
    pub fn score(&self) -> String {
        let healthy = |case: &&FaultCase| case.expected.layer.is_empty();
        let right = |cases: &[&FaultCase]| cases.iter().filter(|case| case.located).count();
        let (fine, broken): (Vec<_>, Vec<_>) = self.cases.iter().partition(healthy);
        let (located, faults, left, paths) = (right(&broken), broken.len(), right(&fine), fine.len());
        let stops = if self.false_stops == 1 { "false stop" } else { "false stops" };
        let untried = match self.left_out.len() {
            0 => String::new(),
            1 => " 1 case was not tried;".to_owned(),
            count => format!(" {count} cases were not tried;"),
        };
        let again = match broken.iter().filter(|case| case.located && !case.first_try.is_empty()).count() {
            0 => String::new(),
            count => format!(" ({count} on a second attempt)"),
        };
        let ping = self.ping.map_or_else(String::new, |ping| {
            let apart = [(ping.coins, "toss a coin"), (ping.unlike, "send what ping cannot")];
            let apart = apart.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}"));
            let apart = apart.collect::<Vec<_>>().join(", ");
            let apart = if apart.is_empty() { apart } else { format!(" ({apart})") };
            format!(" ping was answered alike in {} of {}{apart};", ping.alike, ping.total)
        });
        format!(
            "Located {located} of {faults} faults{again}; {left} of {paths} healthy paths judged right, {} {stops};{untried}{ping} \
             {:.0} s.",
            self.false_stops, self.seconds
        )
    }
}

#[cfg(test)]
mod tests;
