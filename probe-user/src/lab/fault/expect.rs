//! What a diagnosis must say about a case, what it said, and where the two differ. Pure.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Echo, Pinged};
pub use crate::model::verdict::{Confidence, Layer, Outcome, StopHost as Side};

/// What a diagnosis must say. If several answers are equally good, all are listed; if nothing is listed, any answer is
/// good.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedDiagnosis {
    /// How the run ends.
    pub outcomes: &'static [Outcome],
    /// The layer where packets stop; empty if no stop may be reported.
    pub layers: &'static [Layer],
    /// The sides on which it lies, if that is not simply the fault's own.
    pub sides: &'static [Side],
    /// Whether the leg is not checked: with unsolicited replies there is no request whose leg it could be.
    pub any_leg: bool,
    /// The drop reason, only if kernels from 6.1 to 6.18 agree.
    pub reasons: &'static [&'static str],
    /// The netfilter hook.
    pub hook: Option<&'static str>,
    /// The netfilter chain.
    pub chain: Option<&'static str>,
    /// What became of finding the neighbour (the word of a document's `finding`).
    pub neighbour: Option<&'static str>,
    /// How sure it must be at least.
    pub confidence: Confidence,
    /// What the kernel reported on Linux 6.18: drop reason and function, IPv4 and IPv6. Tests check the lab against it,
    /// but not verdicts, since names move between kernels.
    pub measured: Measured,
}

/// Reason and function of the drop event that a fault makes: IPv4, IPv6. Nothing: it makes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Over IPv4.
    pub v4: Option<(&'static str, &'static str)>,
    /// Over IPv6.
    pub v6: Option<(&'static str, &'static str)>,
}

impl Measured {
    /// No drop event.
    pub const SILENT: Self = Self { v4: None, v6: None };
}

impl ExpectedDiagnosis {
    /// No stop, and every probe answered.
    pub const DELIVERED: Self = Self {
        outcomes: &[Outcome::Delivered],
        layers: &[],
        sides: &[],
        any_leg: false,
        reasons: &[],
        hook: None,
        chain: None,
        neighbour: None,
        confidence: Confidence::Likely,
        measured: Measured::SILENT,
    };

    /// Expects every probe to stop in one of these layers.
    pub const fn stopped(layers: &'static [Layer]) -> Self {
        Self { outcomes: &[Outcome::Stopped], layers, ..Self::DELIVERED }
    }

    /// Expects some probes to stop in one of these layers.
    pub const fn lossy(layers: &'static [Layer]) -> Self {
        Self { outcomes: &[Outcome::Lossy], layers, ..Self::DELIVERED }
    }

    /// Requires one of these drop reasons.
    pub const fn reason(self, reasons: &'static [&'static str]) -> Self {
        Self { reasons, ..self }
    }

    /// Requires a certain drop by netfilter in this hook and chain.
    pub const fn in_chain(hook: &'static str, chain: &'static str) -> Self {
        let stopped = Self::stopped(&[Layer::Netfilter]);
        Self { hook: Some(hook), chain: Some(chain), confidence: Confidence::Certain, ..stopped }
    }

    /// Requires this to have become of finding the neighbour.
    pub const fn neighbour(self, finding: &'static str) -> Self {
        Self { neighbour: Some(finding), ..self }
    }

    /// Requires the verdict to be certain.
    pub const fn certain(self) -> Self {
        Self { confidence: Confidence::Certain, ..self }
    }

    /// Requires this drop event over both families.
    pub const fn event(self, reason: &'static str, function: &'static str) -> Self {
        self.events((reason, function), (reason, function))
    }

    /// Requires one drop event over IPv4 and one over IPv6.
    pub const fn events(self, v4: (&'static str, &'static str), v6: (&'static str, &'static str)) -> Self {
        Self { measured: Measured { v4: Some(v4), v6: Some(v6) }, ..self }
    }

    /// Returns whether a stop must be reported.
    pub const fn has_stop(&self) -> bool {
        !self.layers.is_empty()
    }
}

/// What a diagnosis said, in the contract's words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Got {
    /// How the run ended.
    pub outcome: Outcome,
    /// The leg of the first stop; `None` if it reported no stop.
    pub leg: Option<Echo>,
    /// Its side.
    pub host: Option<Side>,
    /// Its place, by the name that the document gives it.
    pub place: Option<String>,
    /// Its layer.
    pub layer: Option<Layer>,
    /// Its drop reason.
    pub reason: Option<String>,
    /// The function that dropped.
    pub function: Option<String>,
    /// The netfilter hook.
    pub hook: Option<String>,
    /// The netfilter chain.
    pub chain: Option<String>,
    /// How sure it is.
    pub confidence: Confidence,
    /// How long it took.
    pub seconds: f64,
    /// The whole of what it said.
    pub document: Value,
    /// How ping fared with the same flags right behind it, if it was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ping: Option<Pinged>,
}

impl Got {
    /// Parses a `probe.diagnosis/1` document.
    ///
    /// # Errors
    /// Names the field that is missing or has a value that the contract does not know.
    pub fn from_document(document: &Value, seconds: f64) -> Result<Self, String> {
        let schema = document["schema"].as_str().unwrap_or_default();
        if schema != "probe.diagnosis/1" {
            let error = document["error"].as_str().unwrap_or("this is not a diagnosis");
            return Err(error.to_owned());
        }
        let (verdict, stop) = (&document["verdict"], &document["stops"][0]);
        let cause = &stop["cause"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Ok(Self {
            outcome: field(verdict, "outcome")?,
            leg: leg_of(stop)?,
            host: optional(stop, "host")?,
            place: text(&stop["place"]),
            layer: optional(stop, "layer")?,
            reason: text(&cause["reason"]),
            function: text(&cause["function"]),
            hook: text(&cause["netfilter"]["hook"]),
            chain: text(&cause["netfilter"]["chain"]),
            confidence: field(verdict, "confidence")?,
            seconds,
            document: document.clone(),
            ping: None,
        })
    }

    /// Returns whether the diagnosis reported a stop.
    pub fn has_stop(&self) -> bool {
        self.leg.is_some() || self.layer.is_some()
    }
}

fn field<T: for<'a> Deserialize<'a>>(object: &Value, name: &str) -> Result<T, String> {
    T::deserialize(&object[name]).map_err(|error| format!("the diagnosis has a wrong {name}: {error}"))
}

fn optional<T: for<'a> Deserialize<'a>>(object: &Value, name: &str) -> Result<Option<T>, String> {
    if object[name].is_null() { Ok(None) } else { field(object, name).map(Some) }
}

fn leg_of(stop: &Value) -> Result<Option<Echo>, String> {
    match stop["leg"].as_str() {
        None => Ok(None),
        Some("request") => Ok(Some(Echo::Request)),
        Some("reply") => Ok(Some(Echo::Reply)),
        Some(other) => Err(format!("the diagnosis has a wrong leg: {other}")),
    }
}

impl ExpectedDiagnosis {
    /// Returns the sides that are right for a fault on `side`.
    pub fn sides_for(&self, side: Option<Side>) -> Vec<Side> {
        if self.sides.is_empty() { side.into_iter().collect() } else { self.sides.to_vec() }
    }

    /// Returns what is checked of a diagnosis of a fault on this leg and side.
    pub fn wanted(&self, leg: Echo, side: Option<Side>) -> Wanted {
        let owned = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        Wanted {
            outcomes: self.outcomes.to_vec(),
            legs: if self.has_stop() && !self.any_leg { vec![leg] } else { Vec::new() },
            hosts: self.sides_for(side),
            places: Vec::new(),
            layers: self.layers.to_vec(),
            reasons: owned(self.reasons),
            hook: self.hook.map(str::to_owned),
            chain: self.chain.map(str::to_owned),
            neighbour: self.neighbour.map(str::to_owned),
            confidence: self.confidence,
        }
    }

    /// Returns where `got` differs from the expectation, one clause each; empty if it is right.
    pub fn differences(&self, leg: Echo, side: Option<Side>, got: &Got) -> Vec<String> {
        self.wanted(leg, side).differences(got)
    }
}

/// What is checked of a diagnosis, whoever made the case: any of the listed values, or anything if a list is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How the run ends.
    pub outcomes: Vec<Outcome>,
    /// The leg on which packets stop.
    pub legs: Vec<Echo>,
    /// Whose place it is.
    pub hosts: Vec<Side>,
    /// The place, by the name of its host in the scene.
    pub places: Vec<String>,
    /// The layer; empty if no stop may be reported.
    pub layers: Vec<Layer>,
    /// The drop reason.
    pub reasons: Vec<String>,
    /// The netfilter hook.
    pub hook: Option<String>,
    /// The netfilter chain.
    pub chain: Option<String>,
    /// What became of finding the neighbour.
    pub neighbour: Option<String>,
    /// How sure it must be at least.
    pub confidence: Confidence,
}

impl Wanted {
    /// Returns where `got` differs, one clause each; empty if it is right.
    pub fn differences(&self, got: &Got) -> Vec<String> {
        let mut wrong = Vec::new();
        let names = |outcomes: &[Outcome]| outcomes.iter().map(|outcome| outcome.name()).collect::<Vec<_>>();
        hold(&mut wrong, "outcome", &names(&self.outcomes), Some(got.outcome.name()));
        if self.layers.is_empty() {
            if got.has_stop() {
                wrong.push(format!("a stop is reported where there is none ({})", got.place()));
            }
            return wrong;
        }
        let legs: Vec<_> = self.legs.iter().map(|leg| leg.name()).collect();
        hold(&mut wrong, "leg", &legs, got.leg.map(Echo::name));
        let hosts: Vec<_> = self.hosts.iter().map(|host| host.name()).collect();
        hold(&mut wrong, "host", &hosts, got.host.map(Side::name));
        hold(&mut wrong, "place", &self.places, got.place.as_deref());
        let layers: Vec<_> = self.layers.iter().map(|layer| layer.name()).collect();
        hold(&mut wrong, "layer", &layers, got.layer.map(Layer::name));
        hold(&mut wrong, "reason", &self.reasons, got.reason.as_deref());
        hold(&mut wrong, "hook", self.hook.as_slice(), got.hook.as_deref());
        hold(&mut wrong, "chain", self.chain.as_slice(), got.chain.as_deref());
        let finding = got.document["stops"][0]["cause"]["neighbour"]["finding"].as_str();
        hold(&mut wrong, "neighbour", self.neighbour.as_slice(), finding);
        if got.confidence < self.confidence {
            let (least, is) = (self.confidence.name(), got.confidence.name());
            wrong.push(format!("confidence is {is}, not {least}"));
        }
        wrong
    }
}

impl Got {
    /// Returns leg, side and layer in one clause.
    pub fn place(&self) -> String {
        let words = [self.leg.map(Echo::name), self.host.map(Side::name), self.layer.map(Layer::name)];
        let words: Vec<_> = words.into_iter().flatten().collect();
        if words.is_empty() { "no stop".to_owned() } else { words.join(" ") }
    }
}

/// Adds a clause to `wrong` unless `is` is one of `wanted`, or nothing is wanted.
pub(super) fn hold<W: Display, I: Display>(wrong: &mut Vec<String>, what: &str, wanted: &[W], is: Option<I>) {
    let is = is.map(|is| is.to_string());
    let fits = wanted.iter().any(|wanted| Some(wanted.to_string()) == is);
    if !wanted.is_empty() && !fits {
        let wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
        let is = is.unwrap_or_else(|| "missing".into());
        wrong.push(format!("{what} is {is}, not {}", wanted.join(" or ")));
    }
}

#[cfg(test)]
mod tests;
