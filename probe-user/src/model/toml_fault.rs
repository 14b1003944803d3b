//! What is wrong with a TOML file written by hand, and in which line.

use std::ops::Range;

use thiserror::Error;
use toml::Spanned;

/// Something wrong in a file: `my.toml:12: what it is`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {what}")]
pub struct TomlFault {
    /// The file, and the line if there is one: `my.toml:12`.
    place: String,
    /// What is wrong.
    what: String,
}

impl TomlFault {
    /// Converts an error of the TOML parser.
    pub fn from_toml(name: &str, text: &str, error: &toml::de::Error) -> Self {
        let what = error.message().lines().collect::<Vec<_>>().join("; ");
        Faulty { span: error.span(), what }.in_file(name, text)
    }
}

/// What is wrong, and where in the text.
#[derive(Debug)]
pub struct Faulty {
    span: Option<Range<usize>>,
    what: String,
}

impl Faulty {
    /// Creates an error about a value, without a position if the value is a default.
    pub fn at<T>(value: Option<&Spanned<T>>, what: impl Into<String>) -> Self {
        Self { span: value.map(Spanned::span), what: what.into() }
    }

    /// Creates an error about the whole file.
    pub fn nowhere(what: impl Into<String>) -> Self {
        Self { span: None, what: what.into() }
    }

    /// Converts the error to one that names the file and line.
    pub fn in_file(self, name: &str, text: &str) -> TomlFault {
        let place = match self.span {
            Some(span) => format!("{name}:{}", line_of(text, span.start)),
            None => name.to_owned(),
        };
        TomlFault { place, what: self.what }
    }
}

/// Returns the number of the line, counted from 1, that holds the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
