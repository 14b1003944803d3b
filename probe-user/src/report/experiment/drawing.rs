//! An experiment as a person reads it: what was sent, the path as a drawn line with its counts, the stops, the lesson.

use probe_ebpf::Echo;
use std::io::{self, Write};

use super::{Experiment, StepRow};
use crate::{
    diagnosis::ledger::LedgerRow,
    middlebox::{
        experiment::way::{Line, WayPoint, WayStop},
        timeline::Endpoint,
    },
    report::style::{Style, Tone},
};

/// Columns that the name of a checkpoint may take.
const NAME: usize = 6;

/// Columns before the first count: IP version, leg, name and number of the id.
const LABEL: usize = 26;

/// Draws the runs of one experiment, which differ only in IP version and ids.
pub(super) fn draw(out: &mut dyn Write, runs: &[Experiment], style: &Style) -> io::Result<()> {
    let Some(first) = runs.first() else { return Ok(()) };
    let (mark, tone) = if runs.iter().all(|run| run.as_expected) {
        (style.either("✓", "[ok]"), Tone::Good)
    } else {
        (style.either("✗", "[!!]"), Tone::Bad)
    };
    let name = style.paint(Tone::Strong, &first.name);
    writeln!(out, "{} {name}: {}", style.paint(tone, mark), first.title)?;
    paragraph(out, &steps_sentence(first), style)?;
    writeln!(out)?;
    draw_lines(out, runs, style)?;
    writeln!(out)?;
    for text in stop_lines(runs) {
        paragraph(out, &text, style)?;
    }
    for text in finding_lines(runs) {
        paragraph(out, &text, style)?;
    }
    Ok(())
}

/// Writes `text` indented, wrapped to the width of `style`.
fn paragraph(out: &mut dyn Write, text: &str, style: &Style) -> io::Result<()> {
    let width = style.width.clamp(40, 100) - 2;
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            writeln!(out, "  {line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "  {line}")
}

/// Counts packets in words: `1 request X`, `3 replies Y`.
fn packets(count: usize, leg: Echo, id_name: &str) -> String {
    let noun = match (leg, count) {
        (Echo::Request, 1) => "request",
        (Echo::Request, _) => "requests",
        (Echo::Reply, 1) => "reply",
        (Echo::Reply, _) => "replies",
    };
    format!("{count} {noun} {id_name}")
}

/// Describes the steps in one sentence.
fn steps_sentence(experiment: &Experiment) -> String {
    let sent = |step: &StepRow| {
        let what = match step.packet {
            "reply" => packets(step.count.into(), Echo::Reply, &step.id_name),
            "request" => packets(step.count.into(), Echo::Request, &step.id_name),
            _ => format!("{} {}", step.count, step.packet),
        };
        format!("{} sends {what}", step.from)
    };
    let mut text = experiment.steps.iter().map(sent).collect::<Vec<_>>().join(", then ");
    if let Some(between) = &experiment.between {
        text.push_str(&format!("; {}'s kernel does not answer", between.far.name));
    }
    text.push('.');
    text
}

fn family_name(experiment: &Experiment) -> &'static str {
    match experiment.family() {
        Some(4) => "IPv4",
        Some(6) => "IPv6",
        _ => "",
    }
}

/// Returns one line for each statement; one that only some of the runs make is prefixed with their IP versions.
fn by_family(runs: &[Experiment], said: Vec<(&Experiment, String)>) -> Vec<String> {
    let mut texts: Vec<(String, Vec<&'static str>)> = Vec::new();
    for (run, text) in said {
        match texts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, families)) => families.push(family_name(run)),
            None => texts.push((text, vec![family_name(run)])),
        }
    }
    let line = |(text, families): (String, Vec<&str>)| {
        if families.len() == runs.len() { text } else { format!("{}: {text}", families.join(" and ")) }
    };
    texts.into_iter().map(line).collect()
}

fn finding_lines(runs: &[Experiment]) -> Vec<String> {
    by_family(runs, runs.iter().map(|run| (run, run.finding.clone())).collect())
}

fn stop_lines(runs: &[Experiment]) -> Vec<String> {
    fn of_run(run: &Experiment) -> Vec<(&Experiment, String)> {
        let mut stops: Vec<(WayStop, &Line)> =
            run.lines.iter().flat_map(|line| line.stops().into_iter().map(move |stop| (stop, line))).collect();
        stops.sort_by_key(|(stop, _)| std::cmp::Reverse(stop.packets));
        let mut texts: Vec<_> = stops.iter().map(|(stop, line)| stop_sentence(stop, line)).collect();
        if texts.is_empty() {
            texts.push("Nothing stopped.".to_owned());
        }
        texts.into_iter().map(|text| (run, text)).collect()
    }
    by_family(runs, runs.iter().flat_map(of_run).collect())
}

/// Describes in a sentence where packets stop.
fn stop_sentence(stop: &WayStop, line: &Line) -> String {
    let place = match stop.host.as_str() {
        "network" => format!("between {} and {}", stop.last_seen.host, stop.first_missing.host),
        host => format!("inside {host}"),
    };
    let them = if stop.packets == 1 { "it" } else { "them" };
    let blind: Vec<_> = stop.blind.iter().map(|blind| format!("{} ({})", blind.point.place(), blind.why)).collect();
    let caveat = if blind.is_empty() { String::new() } else { format!("; blind in between: {}", blind.join(", ")) };
    format!(
        "{} stopped {place}: {} counted {them}, {} did not{caveat}.",
        packets(stop.packets, line.leg, &line.id_name),
        stop.last_seen,
        stop.first_missing,
    )
}

/// Draws the names of the checkpoints, and under them one line for each leg and id.
fn draw_lines(out: &mut dyn Write, runs: &[Experiment], style: &Style) -> io::Result<()> {
    let Some(line) = runs.iter().flat_map(|run| &run.lines).next() else { return Ok(()) };
    let names: Vec<_> = left_to_right(line).iter().map(|row| row.step.place()).collect();
    let gaps = names.len().saturating_sub(1).max(1);
    let step = (style.width.saturating_sub(LABEL + NAME) / gaps).clamp(NAME + 4, NAME + 12);
    let heading = spread(&names, step, |index| names[index].clone(), |_, width| " ".repeat(width));
    writeln!(out, "{:LABEL$}{}", "", style.paint(Tone::Dim, &heading))?;
    for run in runs {
        for (index, line) in run.lines.iter().enumerate() {
            let family = if index == 0 { family_name(run) } else { "" };
            let label = format!("  {family:4}  {:7} {} 0x{:04x}", line.leg.name(), line.id_name, line.id);
            let drawn = Drawn { line, stops: line.stops(), step, style };
            writeln!(out, "{label:LABEL$}{}", drawn.text())?;
        }
    }
    Ok(())
}

/// Returns the NICs from left to right on the page, the near end first.
fn left_to_right(line: &Line) -> Vec<&LedgerRow<WayPoint>> {
    match line.from {
        Endpoint::Near => line.nics().iter().collect(),
        Endpoint::Far => line.nics().iter().rev().collect(),
    }
}

/// Returns how many packets a NIC counted, or `None` if it was blind.
fn counted(row: &LedgerRow<WayPoint>) -> Option<usize> {
    row.blind.is_none().then_some(row.seen.len())
}

/// Centres words every `step` columns, each painted by `paint`, since colour has no width. Between two of them it draws
/// what `fill` returns for the index of the first and their distance.
fn spread(
    words: &[String],
    step: usize,
    paint: impl Fn(usize) -> String,
    fill: impl Fn(usize, usize) -> String,
) -> String {
    let start = |index: usize| (index * step + NAME / 2).saturating_sub(words[index].chars().count() / 2);
    let mut text = words.first().map(|_| " ".repeat(start(0))).unwrap_or_default();
    for index in 0..words.len() {
        if index > 0 {
            let end = start(index - 1) + words[index - 1].chars().count();
            text.push_str(&fill(index - 1, start(index).saturating_sub(end)));
        }
        text.push_str(&paint(index));
    }
    text.trim_end().to_owned()
}

/// One leg of one id.
struct Drawn<'a> {
    line: &'a Line,
    stops: Vec<WayStop>,
    step: usize,
    style: &'a Style,
}

impl Drawn<'_> {
    fn text(&self) -> String {
        let cells = left_to_right(self.line);
        let shown = |row: &&LedgerRow<WayPoint>| counted(row).map_or_else(|| "?".to_owned(), |count| count.to_string());
        let words: Vec<_> = cells.iter().map(shown).collect();
        let paint = |index: usize| self.style.paint(self.tone(cells[index]), &words[index]);
        let fill = |left: usize, width: usize| {
            format!(" {} ", self.connector(cells[left], cells[left + 1], width.saturating_sub(2)))
        };
        spread(&words, self.step, paint, fill)
    }

    fn tone(&self, row: &LedgerRow<WayPoint>) -> Tone {
        let first_missing = self.stops.iter().any(|stop| stop.first_missing == row.step);
        match counted(row) {
            None => Tone::Warn,
            _ if first_missing => Tone::Bad,
            Some(0) => Tone::Dim,
            Some(_) => Tone::Strong,
        }
    }

    /// Draws what lies between two neighbours: an arrow, a stop, something unknown, or nothing.
    fn connector(&self, left: &LedgerRow<WayPoint>, right: &LedgerRow<WayPoint>, width: usize) -> String {
        let (from, to) = if self.line.from == Endpoint::Near { (left, right) } else { (right, left) };
        let stop = self.stops.iter().find(|stop| stop.last_seen == from.step && stop.first_missing == to.step);
        match (stop, counted(from), counted(to)) {
            (Some(_), _, Some(0)) => self.cut(width),
            (Some(stop), ..) => self.arrow(self.style.either("─", "-"), Some(stop.packets), width),
            (None, Some(0), Some(0)) => " ".repeat(width),
            (None, Some(_), Some(_)) => self.arrow(self.style.either("─", "-"), None, width),
            _ => self.arrow(self.style.either("╌", "."), None, width),
        }
    }

    fn cross(&self) -> &'static str {
        if self.style.unicode { "✗" } else { "x" }
    }

    /// Draws a line that ends half-way.
    fn cut(&self, width: usize) -> String {
        let (dash, cross) = (self.style.either("─", "-"), self.style.paint(Tone::Bad, self.cross()));
        let (before, after) = (width / 2, width.saturating_sub(width / 2 + 1));
        let line = self.style.paint(Tone::Dim, &dash.repeat(before));
        match self.line.from {
            Endpoint::Near => format!("{line}{cross}{}", " ".repeat(after)),
            Endpoint::Far => format!("{}{cross}{line}", " ".repeat(after)),
        }
    }

    /// Draws an arrow with the number of packets that were lost on it.
    fn arrow(&self, dash: &str, lost: Option<usize>, width: usize) -> String {
        let note = lost.map(|packets| format!("{}{packets}", self.cross())).unwrap_or_default();
        let dashes = width.saturating_sub(1 + note.chars().count());
        let (near, far) = (dash.repeat(dashes - dashes / 2), dash.repeat(dashes / 2));
        let dim = |text: &str| self.style.paint(Tone::Dim, text);
        let note = if note.is_empty() { note } else { self.style.paint(Tone::Bad, &note) };
        match self.line.from {
            Endpoint::Near => format!("{}{note}{}", dim(&near), dim(&format!("{far}{}", self.style.either("▸", ">")))),
            Endpoint::Far => format!("{}{note}{}", dim(&format!("{}{far}", self.style.either("◂", "<"))), dim(&near)),
        }
    }
}
