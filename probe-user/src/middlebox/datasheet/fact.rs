//! The questions that a characterization answers, by name.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One question about the box between two ends. The near end sends the requests, the far end replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// Is state kept for a request?
    State,
    /// Is the echo id part of the state's key?
    Id,
    /// Is the sequence number?
    Seq,
    /// Is the ICMP code?
    Code,
    /// Is the request's destination: may the reply come from another address?
    Source,
    /// Is the request's source: may the reply go to another address?
    Destination,
    /// How many replies does one request let pass?
    Replies,
    /// May both ends ping with the same id at the same time?
    BothEnds,
    /// Does an unsolicited reply create state?
    Unsolicited,
    /// Which ICMP errors pass, and what do they do to the state?
    Errors,
    /// What does the box rewrite?
    Nat,
    /// Which sizes pass?
    Size,
    /// What passes in the other direction, when the far end sends the requests?
    Roles,
    /// How long after a request does its reply pass?
    Timeout,
    /// How long after a reply does another one pass?
    TimeoutAfterReply,
    /// Does another request refresh the state?
    RefreshByRequest,
    /// Does a reply refresh the state?
    RefreshByReply,
    /// How many requests a second pass?
    Rate,
}

impl Fact {
    /// Every fact, in the order in which they are tested and shown.
    pub const ALL: [Self; 18] = [
        Self::State,
        Self::Id,
        Self::Seq,
        Self::Code,
        Self::Source,
        Self::Destination,
        Self::Replies,
        Self::BothEnds,
        Self::Unsolicited,
        Self::Errors,
        Self::Nat,
        Self::Size,
        Self::Roles,
        Self::Timeout,
        Self::TimeoutAfterReply,
        Self::RefreshByRequest,
        Self::RefreshByReply,
        Self::Rate,
    ];

    /// Returns the fact's name on the command line and in a datasheet.
    pub const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Id => "id",
            Self::Seq => "seq",
            Self::Code => "code",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Replies => "replies",
            Self::BothEnds => "both-ends",
            Self::Unsolicited => "unsolicited",
            Self::Errors => "errors",
            Self::Nat => "nat",
            Self::Size => "size",
            Self::Roles => "roles",
            Self::Timeout => "timeout",
            Self::TimeoutAfterReply => "timeout-after-reply",
            Self::RefreshByRequest => "refresh-by-request",
            Self::RefreshByReply => "refresh-by-reply",
            Self::Rate => "rate",
        }
    }

    /// Returns the facts that must be known before this one can be found out.
    pub const fn builds_on(self) -> &'static [Self] {
        match self {
            Self::State => &[],
            Self::Id | Self::Nat | Self::Size | Self::Rate => &[Self::State],
            Self::RefreshByRequest => &[Self::State, Self::Id, Self::Timeout, Self::TimeoutAfterReply],
            Self::RefreshByReply => &[Self::State, Self::Id, Self::Replies, Self::Timeout, Self::TimeoutAfterReply],
            _ => &[Self::State, Self::Id],
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fact {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|fact| fact.name() == text);
        named.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|fact| fact.name()).collect();
            format!("'{text}' is not a fact; the facts are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documents_and_lead_back() {
        for fact in Fact::ALL {
            assert_eq!(fact.name().parse(), Ok(fact));
            assert_eq!(serde_json::to_value(fact).expect("JSON"), fact.name());
        }
        assert!("nonsense".parse::<Fact>().is_err_and(|why| why.contains("timeout-after-reply")));
    }

    #[test]
    fn a_fact_builds_on_earlier_ones_only() {
        for (index, fact) in Fact::ALL.iter().enumerate() {
            assert!(fact.builds_on().iter().all(|need| Fact::ALL[..index].contains(need)), "{fact}");
        }
    }
}
