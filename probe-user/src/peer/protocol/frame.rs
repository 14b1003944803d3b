//! Encodes messages as lines, and splits a byte stream into lines: pure.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use thiserror::Error;

use super::Numbered;
use crate::harmless;

/// Bytes that are not a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A line that does not end.
    #[error("a message is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// A line that is not a message.
    #[error("not a message: {shown:?} ({why})")]
    Garbage {
        /// The start of the line.
        shown: String,
        /// What is wrong with it.
        why: String,
    },
    /// The input ended in the middle of a line.
    #[error("a message was truncated after {bytes} bytes")]
    Truncated {
        /// The bytes that arrived.
        bytes: usize,
    },
}

/// How much of a line an error shows.
const SHOWN_CHARS: usize = 80;

/// Encodes a message as a line.
///
/// # Errors
/// [`FrameError::TooLong`] if it is longer than `limit`.
pub fn encode<T: Serialize>(message: &Numbered<T>, limit: usize) -> Result<Vec<u8>, FrameError> {
    let garbage = |error: serde_json::Error| FrameError::Garbage { shown: String::new(), why: error.to_string() };
    let mut line = serde_json::to_vec(message).map_err(garbage)?;
    line.push(b'\n');
    if line.len() > limit {
        return Err(FrameError::TooLong { limit });
    }
    Ok(line)
}

/// Decodes the message in a line.
///
/// # Errors
/// [`FrameError::Garbage`] if it is none.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<Numbered<T>, FrameError> {
    read(line).map_err(|error| FrameError::Garbage { shown: printable(line), why: error.to_string() })
}

/// Parses JSON of the far end. None of its strings has more than one line: a newline in one would forge lines of a report,
/// so it is removed, with everything else that is harmful.
pub(super) fn read<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    // Harmful characters are either escaped or beyond printable ASCII; nearly no message has either.
    if json.iter().all(|byte| *byte != b'\\' && *byte < 0x7f) {
        return serde_json::from_slice(json);
    }
    let mut value: Value = serde_json::from_slice(json)?;
    tame(&mut value);
    serde_json::from_value(value)
}

fn tame(value: &mut Value) {
    match value {
        Value::String(text) => *text = harmless::line(text).into_owned(),
        Value::Array(values) => values.iter_mut().for_each(tame),
        Value::Object(fields) => {
            let tamed = std::mem::take(fields).into_iter().map(|(name, mut value)| {
                tame(&mut value);
                (harmless::line(&name).into_owned(), value)
            });
            *fields = tamed.collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Returns the start of a line, without what would move a terminal's cursor.
pub fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    harmless::line(text.trim()).chars().take(SHOWN_CHARS).collect()
}

/// Splits a byte stream into lines.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    searched: usize,
    limit: usize,
}

impl Lines {
    /// Accepts lines of at most `limit` bytes, newline included.
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), searched: 0, limit }
    }

    /// Changes the limit for lines from here on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next complete line without its newline; `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError::TooLong`]: from then on there is no telling where a line starts.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let too_long = FrameError::TooLong { limit: self.limit };
        let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return if self.buffer.len() >= self.limit { Err(too_long) } else { Ok(None) };
        };
        let end = self.searched + end;
        if end >= self.limit {
            return Err(too_long);
        }
        let rest = self.buffer.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.buffer, rest);
        self.searched = 0;
        line.truncate(end);
        Ok(Some(line))
    }

    /// Checks what is left when the input has ended.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] if that is a part of a line.
    pub fn finish(&self) -> Result<(), FrameError> {
        match self.buffer.len() {
            0 => Ok(()),
            bytes => Err(FrameError::Truncated { bytes }),
        }
    }

    /// Returns the unfinished line.
    pub fn rest(&self) -> &[u8] {
        &self.buffer
    }
}
