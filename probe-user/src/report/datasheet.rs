//! `probe.datasheet/1`: the state that a box between two ends keeps for a ping, one fact per line with its counts.

use std::io::{self, Write};

use super::{
    Document,
    diagnosis::wrapped,
    style::{Style, Tone},
};
use crate::{
    middlebox::datasheet::{
        Datasheet, FactFinding, Likeness,
        compare::{Agreement, Compared, Comparison},
        finding::TrialCount,
    },
    model::verdict::Confidence,
};

/// The longest name of a fact, and a gap.
const NAME: usize = 21;

/// How many known stacks are shown.
const LIKENESSES: usize = 3;

impl Document for Datasheet {
    const SCHEMA: &'static str = "probe.datasheet/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let text = Text { style, out };
        text.datasheet(self)
    }
}

impl Document for Comparison {
    const SCHEMA: &'static str = "probe.comparison/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let text = Text { style, out };
        text.comparison(self)
    }
}

struct Text<'a> {
    style: &'a Style,
    out: &'a mut dyn Write,
}

impl Text<'_> {
    fn datasheet(mut self, sheet: &Datasheet) -> io::Result<()> {
        let end = |address: Option<std::net::IpAddr>| address.map_or_else(|| "?".to_owned(), |end| end.to_string());
        let (near, far) = (end(sheet.near), end(sheet.far));
        let head = format!("State kept for a ping between {near} (near) and {far} (far), IPv{}", sheet.family);
        writeln!(self.out, "{}\n", self.style.paint(Tone::Strong, &head))?;
        for finding in &sheet.facts {
            self.finding(finding)?;
        }
        writeln!(self.out)?;
        for (index, likeness) in sheet.fingerprint.iter().take(LIKENESSES).enumerate() {
            self.likeness(if index == 0 { "most like" } else { "" }, likeness)?;
        }
        if sheet.fingerprint.is_empty() {
            self.labelled("most like", "too few facts to compare with known stacks")?;
        }
        for note in &sheet.notes {
            self.labelled("notes", note)?;
        }
        let (lost, sent) = (sheet.control_packets_lost, sheet.control_packets);
        let share = if sent == 0 { 0.0 } else { f64::from(lost) * 100.0 / f64::from(sent) };
        self.labelled("loss", &format!("{lost} of {sent} control packets ({share:.1} %)"))?;
        let unsure = sheet.facts.iter().filter(|finding| finding.confidence != Confidence::Certain);
        match unsure.count() {
            0 => Ok(()),
            count => self.labelled("not certain", &format!("{count} of {} facts", sheet.facts.len())),
        }
    }

    /// Writes the answer and how sure it is, then the counts, then the notes.
    fn finding(&mut self, finding: &FactFinding) -> io::Result<()> {
        let (mark, tone) = match (finding.value.is_known(), finding.confidence) {
            (true, Confidence::Certain) => (self.style.either("✓", "+"), Tone::Good),
            (true, _) => (self.style.either("≈", "~"), Tone::Warn),
            (false, _) => (self.style.either("·", "-"), Tone::Dim),
        };
        let sure = match finding.confidence {
            Confidence::Certain => "certain",
            Confidence::Likely => "likely",
            Confidence::Unknown => "",
        };
        let room = self.room();
        let answer = wrapped(&finding.answer, room.saturating_sub(sure.len() + 2));
        for (index, line) in answer.iter().enumerate() {
            if index > 0 {
                writeln!(self.out, "{}{line}", " ".repeat(NAME + 2))?;
                continue;
            }
            let gap = " ".repeat(room.saturating_sub(line.chars().count() + sure.len()));
            let (mark, sure) = (self.style.paint(tone, mark), self.style.paint(tone, sure));
            let text = format!("{mark} {:<NAME$}{line}{gap}{sure}", finding.fact.name());
            writeln!(self.out, "{}", text.trim_end())?;
        }
        let counts: Vec<String> = finding.evidence.iter().map(count).collect();
        self.below(&counts.join("; "))?;
        self.below(finding.note.as_deref().unwrap_or_default())
    }

    fn room(&self) -> usize {
        self.style.width.clamp(60, 120) - NAME - 2
    }

    fn below(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        for line in wrapped(text, self.room()) {
            writeln!(self.out, "{}{}", " ".repeat(NAME + 2), self.style.paint(Tone::Dim, &line))?;
        }
        Ok(())
    }

    fn labelled(&mut self, label: &str, text: &str) -> io::Result<()> {
        for (index, line) in wrapped(text, self.room()).iter().enumerate() {
            let label = format!("  {:<NAME$}", if index == 0 { label } else { "" });
            writeln!(self.out, "{}{line}", self.style.paint(Tone::Dim, &label))?;
        }
        Ok(())
    }

    fn likeness(&mut self, label: &str, likeness: &Likeness) -> io::Result<()> {
        let Likeness { stack, agree, of, differs, .. } = likeness;
        let facts = if *of == 1 { "fact" } else { "facts" };
        self.labelled(label, &format!("{stack} ({agree} of {of} {facts})"))?;
        for why in differs {
            self.below(why)?;
        }
        Ok(())
    }

    fn comparison(mut self, comparison: &Comparison) -> io::Result<()> {
        let Comparison { left, right, facts, same, different } = comparison;
        writeln!(self.out, "{}\n", self.style.paint(Tone::Strong, &format!("{left} (first) and {right} (second)")))?;
        for fact in facts {
            self.compared(fact)?;
        }
        let tone = if *different == 0 { Tone::Good } else { Tone::Warn };
        let open = match facts.len() - same - different {
            0 => String::new(),
            open => format!(", {open} not known for both"),
        };
        let line = format!("{same} of {} facts are the same, {different} differ{open}.", facts.len());
        writeln!(self.out, "\n{}", self.style.paint(tone, &line))
    }

    fn compared(&mut self, fact: &Compared) -> io::Result<()> {
        let (mark, tone) = match fact.result {
            Agreement::Same => (self.style.either("=", "="), Tone::Good),
            Agreement::Different => (self.style.either("≠", "#"), Tone::Bad),
            Agreement::Unknown => (self.style.either("·", "-"), Tone::Dim),
        };
        let mark = self.style.paint(tone, mark);
        if fact.result == Agreement::Same && fact.left == fact.right {
            return writeln!(self.out, "{mark} {:<NAME$}{}", fact.fact.name(), fact.left);
        }
        writeln!(self.out, "{mark} {:<NAME$}first   {}", fact.fact.name(), fact.left)?;
        writeln!(self.out, "{}second  {}", " ".repeat(NAME + 2), fact.right)
    }
}

/// Describes how often something passed: `3 of 3: the reply to a request`.
fn count(count: &TrialCount) -> String {
    let void = if count.void > 0 { format!(" ({} void)", count.void) } else { String::new() };
    format!("{} of {}{void}: {}", count.passed, count.of, count.what)
}

#[cfg(test)]
mod tests;
