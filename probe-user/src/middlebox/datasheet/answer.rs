//! The answer to one question, as data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An answer as data. Times are seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum FactValue {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Of the code: nothing with another code than 0 passes.
    ZeroOnly,
    /// Of the code: one direction of change passes, the other does not.
    Partly,
    /// The timeout is between these two.
    Between {
        /// A reply after this long passed.
        low: f64,
        /// A reply after this long did not.
        high: f64,
    },
    /// A reply after the longest time that was tried passed.
    Beyond {
        /// That time.
        low: f64,
    },
    /// A reply after the shortest time that was tried did not pass.
    Under {
        /// That time.
        high: f64,
    },
    /// For a refresh: it restarts the timeout, but not beyond a second limit between these two, counted from the
    /// request.
    Until {
        /// A reply after this long passed.
        low: f64,
        /// A reply after this long did not.
        high: f64,
    },
    /// This many replies pass, and no more.
    Limit {
        /// How many.
        replies: u32,
    },
    /// No limit was met.
    Unlimited {
        /// Up to how many were tried: replies to one request, or requests a second.
        tried: u32,
    },
    /// For one id at both ends: the two pings do not affect each other.
    Independent,
    /// The far end's requests are stopped.
    FarMayNotAsk,
    /// The far end's request passes only with the id of a request from the near end.
    OpensForRequests,
    /// For one id at both ends: one ping breaks the other.
    Collides,
    /// What ICMP errors do.
    Errors {
        /// Whether one passes that quotes a request which the box saw.
        about_seen: bool,
        /// Whether one passes that quotes a request which was never sent.
        about_unseen: bool,
        /// Whether a reply still passes after an error about its request.
        state_lives: bool,
    },
    /// What is rewritten.
    Nat {
        /// The address that the near end's requests come from.
        address: Rewriting,
        /// The id.
        id: IdPolicy,
    },
    /// How the rate is limited.
    Rate {
        /// At this many requests a second nothing was lost beyond ordinary loss; 0: at none that was tried.
        free: u32,
        /// At this many requests a second, more was lost.
        limited: u32,
        /// How many a second pass in the long run.
        sustained: f64,
        /// The burst that passes before the limit applies.
        burst: u32,
    },
    /// The largest payloads that passed, in bytes; 0: none of those tried.
    Sizes {
        /// Of requests.
        request: u16,
        /// Of replies.
        reply: u16,
        /// The largest that was tried.
        tried: u16,
    },
    /// In the other direction: no state is kept.
    NothingRemembered,
    /// In the other direction: the same as in this one.
    Same,
    /// In the other direction: the key has other fields.
    Different,
    /// The counts do not allow an answer.
    Inconclusive,
    /// It was not tested.
    NotTested,
}

/// Whether a field is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rewriting {
    /// It arrives as it was sent.
    Kept,
    /// It arrives as another one.
    Rewritten,
}

/// What a NAT does with the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub enum IdPolicy {
    /// It is kept.
    Kept,
    /// It is kept if no other inner host uses it; otherwise another one is chosen.
    KeptWhereFree,
    /// It is kept although another inner host uses it with the same outer address.
    Overloaded,
    /// Another one is chosen, from all over the range.
    Random,
    /// Another one is chosen, from a narrow range.
    Range {
        /// The smallest that was seen.
        low: u16,
        /// The largest that was seen.
        high: u16,
    },
}

impl FactValue {
    /// Returns whether this answers the question.
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Inconclusive | Self::NotTested)
    }

    /// Returns the two times between which the state expires, if it does.
    pub fn between(&self) -> Option<(f64, f64)> {
        match self {
            Self::Between { low, high } => Some((*low, *high)),
            _ => None,
        }
    }
}
