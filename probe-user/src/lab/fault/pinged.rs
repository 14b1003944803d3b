//! How the host's own ping fared in a broken lab. Pure.

use serde::Serialize;

/// What ping counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pinged {
    /// How many requests it sent; `None` if it ended before it sent any.
    pub sent: Option<u64>,
    /// How many of them were answered.
    pub answered: u64,
    /// Its last words, if it counted nothing.
    pub error: Option<String>,
}

impl Pinged {
    /// Reads the last lines of iputils' ping.
    pub fn parse(stdout: &str, stderr: &str) -> Self {
        let before = |word: &str| {
            let before = stdout.lines().rev().find_map(|line| line.split_once(word))?.0;
            before.rsplit([' ', ',']).find(|word| !word.is_empty())?.parse().ok()
        };
        let sent = before(" packets transmitted");
        let last =
            || stderr.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing").to_owned();
        Self { sent, answered: before(" received").unwrap_or(0), error: sent.is_none().then(last) }
    }

    /// Returns it in a few words.
    pub fn words(&self) -> String {
        match (self.sent, &self.error) {
            (Some(sent), _) => format!("ping had {} of {sent} answered", self.answered),
            (None, error) => format!("ping sent nothing ({})", error.as_deref().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_ping_are_read() {
        let text = "--- 10.0.0.1 ping statistics ---\n4 packets transmitted, 3 received, +1 duplicates, 25% packet loss, time 3ms\n";
        assert_eq!(Pinged::parse(text, ""), Pinged { sent: Some(4), answered: 3, error: None });
        let none = Pinged::parse("", "ping: connect: Network is unreachable\n");
        assert_eq!(none.words(), "ping sent nothing (ping: connect: Network is unreachable)");
    }
}
