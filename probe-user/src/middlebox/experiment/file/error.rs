//! What is wrong with an experiment file, and in which line.

use std::ops::Range;

use thiserror::Error;
use toml::Spanned;

use crate::error::Mend;

/// An experiment file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {what}")]
pub struct ScriptError {
    /// The file, and the line where there is one: `my.toml:12`.
    place: String,
    /// What is wrong.
    what: String,
}

impl Mend for ScriptError {
    fn fix(&self) -> String {
        "fix that line; probe experiment --print id-mismatch shows a valid file".to_owned()
    }
}

impl ScriptError {
    /// Converts an error of the TOML parser.
    pub(super) fn from_toml(name: &str, text: &str, error: &toml::de::Error) -> Self {
        let what = error.message().lines().collect::<Vec<_>>().join("; ");
        Faulty { span: error.span(), what }.in_file(name, text)
    }
}

/// What is wrong, and where in the text.
#[derive(Debug)]
pub(super) struct Faulty {
    span: Option<Range<usize>>,
    what: String,
}

impl Faulty {
    /// Creates an error about a value, without a position if the value is a default.
    pub(super) fn at<T>(value: Option<&Spanned<T>>, what: impl Into<String>) -> Self {
        Self { span: value.map(Spanned::span), what: what.into() }
    }

    /// Creates an error about the whole file.
    pub(super) fn nowhere(what: impl Into<String>) -> Self {
        Self { span: None, what: what.into() }
    }

    /// Converts the error to one that names the file and line.
    pub(super) fn in_file(self, name: &str, text: &str) -> ScriptError {
        let place = match self.span {
            Some(span) => format!("{name}:{}", line_of(text, span.start)),
            None => name.to_owned(),
        };
        ScriptError { place, what: self.what }
    }
}

/// Returns the number of the line, counted from 1, that holds the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
