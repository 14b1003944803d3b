//! The questions that a characterisation answers, by name.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One question about the box between two ends. Near is the end that asks, far the one that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// Is anything remembered of a request?
    State,
    /// Is the echo id part of what is remembered?
    Id,
    /// Is the sequence number?
    Seq,
    /// Is the ICMP code?
    Code,
    /// Is the address that the request went to: may the reply come from another one?
    Source,
    /// Is the address that the request came from: may the reply go to another one?
    Destination,
    /// How many replies does one request let in?
    Replies,
    /// May both ends ask with one id at the same time?
    BothEnds,
    /// Does a reply that nobody asked for make the box remember it?
    Unsolicited,
    /// Which ICMP errors pass, and what do they do to what is remembered?
    Errors,
    /// What does the box rewrite?
    Nat,
    /// Which sizes pass?
    Size,
    /// How is it the other way round: the far end asks, the near one answers?
    Roles,
    /// How long after a request does its reply pass?
    Timeout,
    /// How long after a reply does another one pass?
    TimeoutAfterReply,
    /// Does another request prolong it?
    RefreshByRequest,
    /// Does a reply prolong it?
    RefreshByReply,
    /// How many requests a second pass?
    Rate,
}

impl Fact {
    /// Every fact, in the order in which they are found out and shown.
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

    /// Its name on the command line and in a datasheet.
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

    /// The facts without which this one cannot be found out.
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
            format!("'{text}' is no fact; they are {}", names.join(", "))
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
