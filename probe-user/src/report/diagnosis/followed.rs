//! The echoes that a diagnosis followed, for people: those that the verdict is about, and the others.

use std::io::{self, Write};

use super::Text;

/// How many flows are listed besides the one that the verdict is about.
const OTHERS: usize = 8;

impl Text<'_> {
    /// Says whose echoes were followed; says nothing if they were the run's own probes.
    pub(super) fn followed(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(run) = &self.diagnosis.followed else { return Ok(()) };
        let arrow = self.style.either("→", "->");
        let mut flows = run.flows.iter();
        if let Some(first) = flows.next() {
            self.line(out, "followed", &first.text(arrow))?;
        }
        let others: Vec<_> = flows.collect();
        for (index, flow) in others.iter().take(OTHERS).enumerate() {
            self.line(out, if index == 0 { "also seen" } else { "" }, &flow.text(arrow))?;
        }
        if others.len() > OTHERS {
            self.line(out, "", &format!("and {} more", others.len() - OTHERS))?;
        }
        if let Some(flow) = others.iter().find(|flow| flow.lost() > 0) {
            let id = flow.id.map(|id| format!("-e {id} ")).unwrap_or_default();
            let more = format!("others are lost too: probe diagnose --passive {id}{} shows where", flow.to);
            self.line(out, "", &more)?;
        }
        if run.left_out > 0 {
            let more =
                format!("{} further requests came when there was no room left, and are not counted", run.left_out);
            self.line(out, "", &more)?;
        }
        Ok(())
    }
}
