//! Trouble as a person meets it: one sentence that says what is wrong, and one that mends it.

use std::fmt;

/// An error that can reach a person and knows what mends it.
pub trait Mend: std::error::Error + Send + Sync + 'static {
    /// What to do or type now, as one clause without a full stop; empty only where nothing can be done.
    fn fix(&self) -> String;
}

/// What a command gives up with: ready to be printed, as text or as `probe.error/1`. It always means exit status 2.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong, causes included, in one line.
    pub error: String,
    /// What mends it, in one line; empty where nothing does.
    pub fix: String,
}

impl Failure {
    /// A failure that has no error type of its own.
    pub fn new(error: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { error: one_line(&error.into()), fix: one_line(&fix.into()) }
    }
}

impl<E: Mend> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self::new(text, error.fix())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        if !self.fix.is_empty() {
            write!(f, " — {}", self.fix)?;
        }
        Ok(())
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
