//! How the host's own ping fared in a broken lab, held against what the diagnosis said. Pure.

use serde::Serialize;

use super::{Got, Outcome, expect::Wanted};

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

/// Whether ping and the diagnosis met the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LikePing {
    /// They were answered alike.
    Alike,
    /// They were not, and how.
    Different(String),
    /// They cannot be held against each other, and why.
    Apart(&'static str),
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

    fn words(&self) -> String {
        match (self.sent, &self.error) {
            (Some(sent), _) => format!("ping had {} of {sent} answered", self.answered),
            (None, error) => format!("ping sent nothing ({})", error.as_deref().unwrap_or_default()),
        }
    }
}

/// Holds `got` against the ping that was run beside it, if one was.
pub fn like_ping(wanted: &Wanted, got: &Got) -> Option<LikePing> {
    let ping = got.ping.as_ref()?;
    if wanted.outcomes.contains(&Outcome::Lossy) {
        return Some(LikePing::Apart("the fault tosses a coin"));
    }
    let Some(answered) = got.document["answered"].as_u64() else {
        return Some(LikePing::Different(format!("{}, and the diagnosis has no count", ping.words())));
    };
    if answered == ping.answered {
        return Some(LikePing::Alike);
    }
    let sent = &got.document["sent"];
    Some(LikePing::Different(format!("{}, and probe {answered} of {sent}", ping.words())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lab::fault::{Confidence, ExpectedDiagnosis, Layer};
    use probe_ebpf::Echo;

    fn got(answered: u64, ping: Pinged) -> Got {
        let document = json!({
            "schema": "probe.diagnosis/1", "answered": answered, "sent": 10,
            "verdict": {"outcome": "delivered", "confidence": Confidence::Certain.name()},
        });
        Got { ping: Some(ping), ..Got::from_document(&document, 0.0).expect("a diagnosis") }
    }

    fn wanted(expected: &ExpectedDiagnosis) -> Wanted {
        expected.wanted(Echo::Request, None)
    }

    #[test]
    fn the_last_lines_of_ping_are_read() {
        let text = "--- 10.0.0.1 ping statistics ---\n4 packets transmitted, 3 received, +1 duplicates, 25% packet loss, time 3ms\n";
        assert_eq!(Pinged::parse(text, ""), Pinged { sent: Some(4), answered: 3, error: None });
        let none = Pinged::parse("", "ping: connect: Network is unreachable\n");
        assert_eq!(none.words(), "ping sent nothing (ping: connect: Network is unreachable)");
    }

    #[test]
    fn counts_must_agree_unless_the_fault_tosses_a_coin() {
        let ping = |answered| Pinged { sent: Some(10), answered, error: None };
        let stopped = wanted(&ExpectedDiagnosis::stopped(&[Layer::Netfilter]));
        assert_eq!(like_ping(&stopped, &got(0, ping(0))), Some(LikePing::Alike));
        let different = LikePing::Different("ping had 10 of 10 answered, and probe 0 of 10".to_owned());
        assert_eq!(like_ping(&stopped, &got(0, ping(10))), Some(different));
        let lossy = wanted(&ExpectedDiagnosis::lossy(&[Layer::Netfilter]));
        assert!(matches!(like_ping(&lossy, &got(4, ping(6))), Some(LikePing::Apart(_))));
        let alone = Got { ping: None, ..got(0, ping(0)) };
        assert_eq!(like_ping(&stopped, &alone), None);
    }
}
