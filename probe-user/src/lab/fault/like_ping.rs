//! Whether ping and the diagnosis were answered alike in a broken lab. Pure.

use super::{Got, Layer, Outcome, expect::Wanted};

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
    if mends_itself(wanted) {
        return Some(LikePing::Apart("what is broken mends by itself, at some moment between the packets of the two"));
    }
    let sent = &got.document["sent"];
    Some(LikePing::Different(format!("{}, and probe {answered} of {sent}", ping.words())))
}

/// Reports whether what is broken mends by itself after some seconds: whose entry for a neighbour grows old asks for that neighbour,
/// which thereby learns who asks.
pub fn mends_itself(wanted: &Wanted) -> bool {
    wanted.neighbour.is_some() || wanted.layers.contains(&Layer::Neighbour)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lab::fault::{Confidence, ExpectedDiagnosis, Pinged};
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
    fn counts_must_agree_unless_the_fault_tosses_a_coin() {
        let ping = |answered| Pinged { sent: Some(10), answered, error: None };
        let stopped = wanted(&ExpectedDiagnosis::stopped(&[Layer::Netfilter]));
        assert_eq!(like_ping(&stopped, &got(0, ping(0))), Some(LikePing::Alike));
        let different = LikePing::Different("ping had 10 of 10 answered, and probe 0 of 10".to_owned());
        assert_eq!(like_ping(&stopped, &got(0, ping(10))), Some(different));
        let lossy = wanted(&ExpectedDiagnosis::lossy(&[Layer::Netfilter]));
        assert!(matches!(like_ping(&lossy, &got(4, ping(6))), Some(LikePing::Apart(_))));
        let neighbour = wanted(&ExpectedDiagnosis::stopped(&[Layer::Neighbour]));
        assert_eq!(like_ping(&neighbour, &got(0, ping(0))), Some(LikePing::Alike));
        assert!(matches!(like_ping(&neighbour, &got(0, ping(10))), Some(LikePing::Apart(_))));
        let alone = Got { ping: None, ..got(0, ping(0)) };
        assert_eq!(like_ping(&stopped, &alone), None);
    }
}
