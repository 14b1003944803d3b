//! `probe.explanation/1`: the question behind each fact of a datasheet, how it is tested, what the answers mean.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Document,
    diagnosis::wrapped,
    style::{Style, Tone},
};
use crate::middlebox::datasheet::{
    Fact,
    explain::{CONTROLS, explain},
};

/// One fact, or all of them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Explained {
    /// The facts.
    pub facts: Vec<ExplainedFact>,
    /// What holds for every trial.
    pub controls: &'static str,
}

/// One fact.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExplainedFact {
    /// Its name.
    pub fact: Fact,
    /// The question.
    pub question: &'static str,
    /// How it is tested.
    pub procedure: &'static str,
    /// What the answers mean.
    pub meaning: &'static str,
}

impl Explained {
    /// Explains this fact, or all if none is named.
    pub fn of(fact: Option<Fact>) -> Self {
        let facts = fact.map_or_else(|| Fact::ALL.to_vec(), |fact| vec![fact]);
        let explanation = |fact: Fact| {
            let about = explain(fact);
            ExplainedFact { fact, question: about.question, procedure: about.procedure, meaning: about.meaning }
        };
        Self { facts: facts.into_iter().map(explanation).collect(), controls: CONTROLS }
    }
}

impl Document for Explained {
    const SCHEMA: &'static str = "probe.explanation/1";

    fn write_text(&self, out: &mut dyn Write, style: &Style) -> io::Result<()> {
        let room = style.width.clamp(40, 100) - 2;
        let mut lines = |text: &str| wrapped(text, room).iter().try_for_each(|line| writeln!(out, "  {line}"));
        for about in &self.facts {
            lines(&style.paint(Tone::Strong, &format!("{}: {}", about.fact, about.question)))?;
            lines(about.procedure)?;
            lines(about.meaning)?;
            lines("")?;
        }
        lines(self.controls)
    }
}
