//! Reads what the command prints: its stdout as banner, hello and replies, its stderr line by line.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use super::Relay;
use crate::{
    harmless,
    peer::protocol::{
        AgentReply, Hello, MAX_ANSWER_BYTES, Numbered,
        frame::{FrameError, Lines, decode, printable},
    },
};

/// The longest line of a banner.
const MAX_BANNER_LINE: usize = 64 << 10;

/// The most bytes that may precede the hello.
const MAX_BANNER_BYTES: usize = 1 << 20;

/// How many lines of stderr are kept to explain why a command ended.
const KEPT_LINES: usize = 8;

/// The longest line of stderr that is relayed in one piece.
const MAX_STDERR_LINE: u64 = 4096;

/// What was read from stdout.
#[derive(Debug)]
pub(super) enum PeerMessage {
    /// A line before the hello.
    Banner(String),
    /// The hello, or why it cannot be read.
    Hello(Result<Hello, String>),
    /// A reply.
    Answer(Box<Numbered<AgentReply>>),
    /// Something else, after which nothing more is read.
    Broken(FrameError),
    /// stdout is closed.
    End,
}

/// The last lines that a command printed.
#[derive(Clone, Debug, Default)]
pub(super) struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    pub(super) fn add(&self, line: &str) {
        let Ok(mut lines) = self.0.lock() else { return };
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// Returns the last line that is not empty.
    pub(super) fn last(&self) -> Option<String> {
        self.0.lock().ok()?.iter().rev().find(|line| !line.trim().is_empty()).cloned()
    }

    /// Returns the last line that contains one of these words, in any case.
    pub(super) fn with(&self, words: &[&str]) -> Option<String> {
        let has = |line: &&String| words.iter().any(|word| line.to_lowercase().contains(word));
        self.0.lock().ok()?.iter().rev().find(has).cloned()
    }
}

/// Reads stdout on a thread of its own.
pub(super) fn listen(stdout: impl Read + Send + 'static, banner: LastLines) -> Receiver<PeerMessage> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let last = read(stdout, &sender, &banner).unwrap_or_else(PeerMessage::Broken);
        let _ = sender.send(last);
    });
    receiver
}

fn read(mut stdout: impl Read, to: &Sender<PeerMessage>, banner: &LastLines) -> Result<PeerMessage, FrameError> {
    let mut lines = Lines::new(MAX_BANNER_LINE);
    let mut bytes = vec![0; 64 << 10];
    let (mut greeted, mut before) = (false, 0);
    loop {
        while let Some(line) = lines.next_line()? {
            let message = if greeted {
                PeerMessage::Answer(Box::new(decode(&line)?))
            } else {
                before += line.len();
                before_hello(&line, banner)
            };
            if let PeerMessage::Hello(_) = message {
                greeted = true;
                lines.set_limit(MAX_ANSWER_BYTES);
            } else if !greeted && before > MAX_BANNER_BYTES {
                return Err(FrameError::TooLong { limit: MAX_BANNER_BYTES });
            }
            if to.send(message).is_err() {
                return Ok(PeerMessage::End);
            }
        }
        match stdout.read(&mut bytes) {
            Ok(0) if greeted => return lines.finish().map(|()| PeerMessage::End),
            Ok(0) => {
                banner.add(&printable(lines.rest()));
                return Ok(PeerMessage::End);
            }
            Ok(length) => lines.push(&bytes[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(PeerMessage::End),
        }
    }
}

fn before_hello(line: &[u8], banner: &LastLines) -> PeerMessage {
    let text = String::from_utf8_lossy(line);
    match Hello::in_line(&text) {
        Some(hello) => PeerMessage::Hello(hello),
        None => {
            let line = printable(line);
            banner.add(&line);
            PeerMessage::Banner(line)
        }
    }
}

/// Passes stderr on line by line, on a thread of its own.
pub(super) fn relay(stderr: impl Read + Send + 'static, kept: LastLines, relay: Relay) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(MAX_STDERR_LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    let text = clean(&line);
                    kept.add(&text);
                    relay(&text);
                }
            }
        }
    })
}

/// Returns a line without its end and without what would move a terminal's cursor.
fn clean(line: &[u8]) -> String {
    harmless::line(String::from_utf8_lossy(line).trim_end()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> Vec<PeerMessage> {
        listen(std::io::Cursor::new(bytes.to_vec()), LastLines::default()).into_iter().collect()
    }

    fn hello() -> Vec<u8> {
        Hello::new("b".into(), "6".into(), None).line()
    }

    #[test]
    fn a_banner_is_told_and_the_hello_found_behind_it() {
        let all = message(&[b"Welcome\nto b: ".as_slice(), &hello()].concat());
        assert!(
            matches!(&all[..], [PeerMessage::Banner(line), PeerMessage::Hello(Ok(_)), PeerMessage::End] if line == "Welcome")
        );
    }

    #[test]
    fn after_the_hello_only_answers_are_heard() {
        let all = message(&[&hello()[..], b"logout\n"].concat());
        assert!(
            matches!(&all[..], [PeerMessage::Hello(Ok(_)), PeerMessage::Broken(FrameError::Garbage { .. })]),
            "{all:?}"
        );
        let all = message(&[&hello()[..], b"{\"number\":1,"].concat());
        assert!(
            matches!(&all[..], [PeerMessage::Hello(Ok(_)), PeerMessage::Broken(FrameError::Truncated { .. })]),
            "{all:?}"
        );
    }

    #[test]
    fn an_endless_banner_is_refused() {
        let all = message(&vec![b'x'; 2 * MAX_BANNER_LINE]);
        assert!(matches!(&all[..], [PeerMessage::Broken(FrameError::TooLong { .. })]), "{all:?}");
        let all = message(&b"yes\n".repeat(MAX_BANNER_BYTES));
        assert!(matches!(all.last(), Some(PeerMessage::Broken(FrameError::TooLong { .. }))));
    }

    #[test]
    fn relayed_lines_cannot_move_the_cursor() {
        assert_eq!(clean(b"\x1b[2Jgone\r\n"), " [2Jgone");
    }
}
