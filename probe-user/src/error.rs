//! Errors as the user sees them: one sentence that says what is wrong, and one that says how to fix it.

use std::fmt;

/// An error that can reach the user and knows its fix.
pub trait Mend: std::error::Error + Send + Sync + 'static {
    /// Returns what to do or type now, as one clause without a full stop; empty only if nothing can be done.
    fn fix(&self) -> String;
}

/// The error with which a command gives up, ready to be printed as text or as `probe.error/1`. It always means exit status
/// 2.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong, causes included, in one line.
    pub error: String,
    /// How to fix it, in one line; empty if nothing can be done.
    pub fix: String,
}

impl Failure {
    /// Makes a failure that has no error type of its own.
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
