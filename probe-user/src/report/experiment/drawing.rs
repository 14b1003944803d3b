//! An experiment as a person reads it: what was sent, the path as a drawn line with its counts, the stops, the lesson.

use std::io::{self, Write};

use probe_ebpf::Family;

use super::{Action, Experiment, Line, Step};
use crate::{
    ledger::{Sight, Stop},
    path::{Checkpoint, Leg},
    report::style::{Style, Tone},
};

/// Columns that the name of a checkpoint may take.
const NAME: usize = 6;

/// Columns before the first count: IP version, leg, name and number of the id.
const LABEL: usize = 26;

/// Draws the runs of one experiment, which differ in their IP version and ids only.
pub(super) fn draw(out: &mut dyn Write, runs: &[Experiment], style: &Style) -> io::Result<()> {
    let Some(first) = runs.first() else { return Ok(()) };
    let (mark, tone) = if runs.iter().all(|run| run.as_expected) {
        (style.either("✓", "[ok]"), Tone::Good)
    } else {
        (style.either("✗", "[!!]"), Tone::Bad)
    };
    let name = style.paint(Tone::Strong, &first.name);
    writeln!(out, "{} {name}: {}", style.paint(tone, mark), first.title)?;
    paragraph(out, &told_steps(&first.steps), style)?;
    writeln!(out)?;
    draw_lines(out, runs, style)?;
    writeln!(out)?;
    for text in told_stops(runs) {
        paragraph(out, &text, style)?;
    }
    for text in told_findings(runs) {
        paragraph(out, &text, style)?;
    }
    Ok(())
}

/// Writes `text` indented, in lines no longer than the reader's.
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

/// `1 request X`, `3 replies Y`.
fn packets(count: u64, leg: Leg, id_name: &str) -> String {
    let noun = match (leg, count) {
        (Leg::Request, 1) => "request",
        (Leg::Request, _) => "requests",
        (Leg::Reply, 1) => "reply",
        (Leg::Reply, _) => "replies",
    };
    format!("{count} {noun} {id_name}")
}

/// The steps as one sentence.
fn told_steps(steps: &[Step]) -> String {
    let sent = steps.iter().filter(|step| step.action == Action::Send).map(|step| {
        format!("{} sends {}", step.host, packets(u64::from(step.count.unwrap_or(0)), step.kind, &step.id_name))
    });
    let mut text = sent.collect::<Vec<_>>().join(", then ");
    let who = |action| steps.iter().find(|step| step.action == action).map(|step| step.host.as_str());
    if let Some(host) = who(Action::Answer) {
        text.push_str(&format!("; {host}'s kernel answers"));
    } else if let Some(host) = who(Action::Absorb) {
        text.push_str(&format!("; {host}'s kernel is kept from answering"));
    }
    text.push('.');
    text
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

/// A line for each thing to say; what only some of the runs say has their IP versions before it.
fn by_family(runs: &[Experiment], said: Vec<(Family, String)>) -> Vec<String> {
    let mut texts: Vec<(String, Vec<&'static str>)> = Vec::new();
    for (family, text) in said {
        match texts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, families)) => families.push(family_name(family)),
            None => texts.push((text, vec![family_name(family)])),
        }
    }
    let line = |(text, families): (String, Vec<&str>)| {
        if families.len() == runs.len() { text } else { format!("{}: {text}", families.join(" and ")) }
    };
    texts.into_iter().map(line).collect()
}

fn told_findings(runs: &[Experiment]) -> Vec<String> {
    by_family(runs, runs.iter().map(|run| (run.family, run.finding.clone())).collect())
}

fn told_stops(runs: &[Experiment]) -> Vec<String> {
    let of_run = |run: &Experiment| {
        let mut texts: Vec<_> = run.stops.iter().map(|entry| told_stop(&entry.stop, &entry.id_name)).collect();
        if texts.is_empty() {
            texts.push("Nothing stopped.".to_owned());
        }
        texts.into_iter().map(|text| (run.family, text)).collect::<Vec<_>>()
    };
    by_family(runs, runs.iter().flat_map(of_run).collect())
}

/// Where packets stop, as a sentence.
fn told_stop(stop: &Stop, id_name: &str) -> String {
    let place = match stop.host() {
        "network" => format!("between {} and {}", stop.last_seen.host, stop.first_missing.host),
        host => format!("inside {host}"),
    };
    let them = if stop.packets == 1 { "it" } else { "them" };
    let blind: Vec<_> = stop.blind.iter().map(|(checkpoint, why)| format!("{} ({why})", checkpoint.place())).collect();
    let caveat = if blind.is_empty() { String::new() } else { format!("; blind in between: {}", blind.join(", ")) };
    format!(
        "{} stopped {place}: {} counted {them}, {} did not{caveat}.",
        packets(stop.packets, stop.leg, id_name),
        stop.last_seen,
        stop.first_missing,
    )
}

/// The names of the checkpoints, and under them one line for each leg and id.
fn draw_lines(out: &mut dyn Write, runs: &[Experiment], style: &Style) -> io::Result<()> {
    let Some(line) = runs.iter().flat_map(|run| &run.lines).next() else { return Ok(()) };
    let names: Vec<_> = left_to_right(line).map(|(checkpoint, _)| checkpoint.place()).collect();
    let gaps = names.len().saturating_sub(1).max(1);
    let step = (style.width.saturating_sub(LABEL + NAME) / gaps).clamp(NAME + 4, NAME + 12);
    let heading = spread(&names, step, |index| names[index].clone(), |_, width| " ".repeat(width));
    writeln!(out, "{:LABEL$}{}", "", style.paint(Tone::Dim, &heading))?;
    for run in runs {
        for (index, line) in run.lines.iter().enumerate() {
            let family = if index == 0 { family_name(run.family) } else { "" };
            let label = format!("  {family:4}  {:7} {} 0x{:04x}", line.kind.name(), line.id_name, line.id);
            let stops = run.stops.iter().filter(|entry| entry.stop.leg == line.kind && entry.id == line.id);
            let drawn = Drawn { line, stops: stops.map(|entry| &entry.stop).collect(), step, style };
            writeln!(out, "{label:LABEL$}{}", drawn.text())?;
        }
    }
    Ok(())
}

/// The checkpoints as they lie on the page: the asker always at the left.
fn left_to_right(line: &Line) -> impl Iterator<Item = (&Checkpoint, &Sight)> {
    let rows: Vec<_> = match line.kind {
        Leg::Request => line.rows.iter().collect(),
        Leg::Reply => line.rows.iter().rev().collect(),
    };
    rows.into_iter().map(|row| (&row.checkpoint, &row.sight))
}

/// Words centred every `step` columns, each as `paint` gives it, for colour has no width; and between two of them what
/// `fill` gives for the index of the first and their distance.
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
    stops: Vec<&'a Stop>,
    step: usize,
    style: &'a Style,
}

impl Drawn<'_> {
    fn text(&self) -> String {
        let cells: Vec<_> = left_to_right(self.line).collect();
        let shown =
            |(_, sight): &(_, &Sight)| sight.packets().map_or_else(|| "?".to_owned(), |count| count.to_string());
        let words: Vec<_> = cells.iter().map(shown).collect();
        let paint = |index: usize| self.style.paint(self.tone(cells[index].0, cells[index].1), &words[index]);
        let fill = |left: usize, width: usize| {
            format!(" {} ", self.connector(cells[left], cells[left + 1], width.saturating_sub(2)))
        };
        spread(&words, self.step, paint, fill)
    }

    fn tone(&self, checkpoint: &Checkpoint, sight: &Sight) -> Tone {
        let first_missing = self.stops.iter().any(|stop| stop.first_missing == *checkpoint);
        match sight {
            Sight::Blind(_) => Tone::Warn,
            _ if first_missing => Tone::Bad,
            Sight::Missing => Tone::Dim,
            Sight::Seen(_) => Tone::Strong,
        }
    }

    /// What lies between two neighbours: an arrow, a stop, something unknown, or nothing.
    fn connector(&self, left: (&Checkpoint, &Sight), right: (&Checkpoint, &Sight), width: usize) -> String {
        let (from, to) = if self.line.kind == Leg::Request { (left, right) } else { (right, left) };
        let stop = self.stops.iter().find(|stop| stop.last_seen == *from.0 && stop.first_missing == *to.0);
        match (stop, from.1.packets(), to.1.packets()) {
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

    /// A line that ends half-way.
    fn cut(&self, width: usize) -> String {
        let (dash, cross) = (self.style.either("─", "-"), self.style.paint(Tone::Bad, self.cross()));
        let (before, after) = (width / 2, width.saturating_sub(width / 2 + 1));
        let line = self.style.paint(Tone::Dim, &dash.repeat(before));
        match self.line.kind {
            Leg::Request => format!("{line}{cross}{}", " ".repeat(after)),
            Leg::Reply => format!("{}{cross}{line}", " ".repeat(after)),
        }
    }

    /// An arrow, with the number of packets that were lost on it.
    fn arrow(&self, dash: &str, lost: Option<u64>, width: usize) -> String {
        let note = lost.map(|packets| format!("{}{packets}", self.cross())).unwrap_or_default();
        let dashes = width.saturating_sub(1 + note.chars().count());
        let (near, far) = (dash.repeat(dashes - dashes / 2), dash.repeat(dashes / 2));
        let dim = |text: &str| self.style.paint(Tone::Dim, text);
        let note = if note.is_empty() { note } else { self.style.paint(Tone::Bad, &note) };
        match self.line.kind {
            Leg::Request => format!("{}{note}{}", dim(&near), dim(&format!("{far}{}", self.style.either("▸", ">")))),
            Leg::Reply => format!("{}{note}{}", dim(&format!("{}{far}", self.style.either("◂", "<"))), dim(&near)),
        }
    }
}
