//! The numbers of an answer for programs: what was measured, its value or bounds, and the unit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{FactValue, IdPolicy},
    fact::Fact,
};

/// One quantity of an answer. A range that is open at one end has only the other bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measure {
    /// What was measured.
    pub quantity: Quantity,
    /// The best estimate; none if only one bound is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// It is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// It is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// The unit of all three.
    pub unit: Unit,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// How long an exchange is remembered.
    Lifetime,
    /// How long after the request it ends whatever refreshes it.
    LongestLifetime,
    /// How many replies one request lets in.
    RepliesPerRequest,
    /// How fast requests may come without being dropped.
    RequestRate,
    /// How fast requests pass in the long run.
    SustainedRate,
    /// How many requests pass at once before the limit applies.
    Burst,
    /// The largest payload of a request that passes.
    RequestPayload,
    /// The largest payload of a reply that passes.
    ReplyPayload,
    /// The largest payload that was tried.
    TriedPayload,
    /// The ICMP code that passes.
    IcmpCode,
    /// The echo id after the NAT.
    EchoId,
}

/// A unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds.
    S,
    /// Packets.
    Packets,
    /// Packets a second.
    PacketsPerSecond,
    /// Bytes.
    Bytes,
    /// The number of an ICMP code.
    Code,
    /// The number of an echo id.
    Id,
}

/// A number with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
}

/// Returns the numbers of an answer; none if the answer is a word.
pub fn measures(fact: Fact, answer: &FactValue) -> Vec<Measure> {
    use Quantity as Q;
    match *answer {
        FactValue::ZeroOnly => vec![Measure::exact(Q::IcmpCode, 0.0, Unit::Code)],
        FactValue::Between { low, high } => vec![Measure::between(Q::Lifetime, low, high)],
        FactValue::Until { low, high } => vec![Measure::between(Q::LongestLifetime, low, high)],
        FactValue::Beyond { low } => vec![Measure::bounds(Q::Lifetime, Some(low), None, Unit::S)],
        FactValue::Under { high } => vec![Measure::bounds(Q::Lifetime, None, Some(high), Unit::S)],
        FactValue::Limit { replies } => vec![Measure::exact(Q::RepliesPerRequest, replies.into(), Unit::Packets)],
        FactValue::Unlimited { tried } if fact == Fact::Rate => {
            vec![Measure::bounds(Q::RequestRate, Some(tried.into()), None, Unit::PacketsPerSecond)]
        }
        FactValue::Unlimited { tried } => {
            vec![Measure::bounds(Q::RepliesPerRequest, Some(tried.into()), None, Unit::Packets)]
        }
        FactValue::Rate { free, limited, sustained, burst } => vec![
            Measure::bounds(Q::RequestRate, Some(free.into()), Some(limited.into()), Unit::PacketsPerSecond),
            Measure::exact(Q::SustainedRate, sustained, Unit::PacketsPerSecond),
            Measure::exact(Q::Burst, burst.into(), Unit::Packets),
        ],
        FactValue::Sizes { request, reply, tried } => vec![
            Measure::exact(Q::RequestPayload, request.into(), Unit::Bytes),
            Measure::exact(Q::ReplyPayload, reply.into(), Unit::Bytes),
            Measure::exact(Q::TriedPayload, tried.into(), Unit::Bytes),
        ],
        FactValue::Nat { id: IdPolicy::Range { low, high }, .. } => {
            vec![Measure::bounds(Q::EchoId, Some(low.into()), Some(high.into()), Unit::Id)]
        }
        _ => Vec::new(),
    }
}

impl Measure {
    /// Returns a quantity that is known exactly.
    pub fn exact(quantity: Quantity, value: f64, unit: Unit) -> Self {
        Self { quantity, value: Some(value), low: None, high: None, unit }
    }

    fn bounds(quantity: Quantity, low: Option<f64>, high: Option<f64>, unit: Unit) -> Self {
        Self { quantity, value: None, low, high, unit }
    }

    /// Returns a time between two, with the middle of them as its value.
    fn between(quantity: Quantity, low: f64, high: f64) -> Self {
        let middle = f64::midpoint(low, high);
        Self { quantity, value: Some(middle), low: Some(low), high: Some(high), unit: Unit::S }
    }
}

#[cfg(test)]
mod tests;
