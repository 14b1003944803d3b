//! What a diagnosis must say about a scene's case, beyond what is checked of all: the place by name, alterations,
//! words. Pure.

use std::collections::BTreeMap;

use probe_ebpf::Echo;
use serde_json::Value;

use super::super::expect::{Confidence, Got, Layer, Outcome, Side, Wanted, hold};

/// What a diagnosis must say. If nothing is listed, anything is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SceneExpected {
    /// How the run ends.
    pub outcomes: Vec<Outcome>,
    /// In which hosts packets stop.
    pub place: ExpectedPlace,
    /// Whose that is.
    pub hosts: Vec<Side>,
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
    /// The setting that drops them, as a path below `/proc/sys`.
    pub setting: Option<String>,
    /// How sure it must be at least.
    pub confidence: Confidence,
    /// Whether the leg is not checked.
    pub any_leg: bool,
    /// How many stops there are.
    pub stops: usize,
    /// What must have been changed on the way, all of it: `request destination 10.0.0.1 > 10.0.0.2`. `None`: it is not
    /// checked.
    pub alterations: Option<Vec<String>>,
    /// What the sentence must contain.
    pub says: Vec<String>,
    /// What some text of the diagnosis must contain, each.
    pub tells: Vec<String>,
    /// What no text of the diagnosis may contain.
    pub never: Vec<String>,
}

/// Where packets stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedPlace {
    /// Nothing is checked.
    Any,
    /// In one of these hosts, which are watched.
    Watched(Vec<String>),
    /// In one of these hosts, which nobody watches: none of them can be reported as the place, and no other may be.
    Unwatched(Vec<String>),
}

impl ExpectedPlace {
    /// Returns the first of its hosts.
    pub fn host(&self) -> Option<&String> {
        match self {
            Self::Any => None,
            Self::Watched(hosts) | Self::Unwatched(hosts) => hosts.first(),
        }
    }
}

impl SceneExpected {
    /// Returns whether a stop must be reported.
    pub fn has_stop(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Returns it with each text filled.
    pub(super) fn filled(&self, fill: impl Fn(&str) -> String) -> Self {
        let all = |texts: &[String]| texts.iter().map(|text| fill(text)).collect::<Vec<_>>();
        Self {
            reasons: all(&self.reasons),
            chain: self.chain.as_deref().map(&fill),
            setting: self.setting.as_deref().map(&fill),
            alterations: self.alterations.as_deref().map(all),
            says: all(&self.says),
            tells: all(&self.tells),
            never: all(&self.never),
            ..self.clone()
        }
    }

    /// Returns the part that is checked of every diagnosis.
    pub(super) fn wanted(&self, leg: Echo) -> Wanted {
        let held = self.has_stop() && !self.any_leg;
        let place = match &self.place {
            ExpectedPlace::Watched(hosts) if self.has_stop() => hosts.clone(),
            _ => Vec::new(),
        };
        Wanted {
            outcomes: self.outcomes.clone(),
            legs: if held { vec![leg] } else { Vec::new() },
            hosts: self.hosts.clone(),
            places: place,
            layers: self.layers.clone(),
            reasons: self.reasons.clone(),
            hook: self.hook.clone(),
            chain: self.chain.clone(),
            neighbour: self.neighbour.clone(),
            confidence: self.confidence,
        }
    }

    /// Returns where `got`, whose place is a host of the scene, differs; one clause each.
    pub fn differences(&self, leg: Echo, got: &Got) -> Vec<String> {
        let mut wrong = self.wanted(leg).differences(got);
        let document = &got.document;
        if self.has_stop() {
            let stops = document["stops"].as_array().map_or(0, Vec::len);
            hold(&mut wrong, "number of stops", &[self.stops], Some(stops));
            let setting = document["stops"][0]["cause"]["setting"]["path"].as_str();
            hold(&mut wrong, "setting", self.setting.as_slice(), setting);
            if let (ExpectedPlace::Unwatched(_), Some(place)) = (&self.place, &got.place) {
                wrong.push(format!("place is {place}, where only a host that nobody watches can be it"));
            }
        }
        if let Some(wanted) = &self.alterations {
            let mut wanted = wanted.clone();
            let mut seen = alterations(document);
            wanted.sort();
            seen.sort();
            if wanted != seen {
                wrong.push(format!("alterations are [{}], not [{}]", seen.join("; "), wanted.join("; ")));
            }
        }
        let sentence = document["verdict"]["sentence"].as_str().unwrap_or_default();
        let unsaid = self.says.iter().filter(|words| !sentence.contains(words.as_str()));
        wrong.extend(unsaid.map(|words| format!("the sentence lacks '{words}'")));
        let untold = self.tells.iter().filter(|words| !contains(document, words));
        wrong.extend(untold.map(|words| format!("'{words}' is not told")));
        let said = self.never.iter().filter(|words| contains(document, words));
        wrong.extend(said.map(|words| format!("'{words}' is said, which is wrong here")));
        wrong
    }
}

impl Got {
    /// Returns it with the host of the scene as its place, if it is one, by the inode of its namespace: names depend on
    /// what is watched.
    pub fn in_scene(self, hosts: &BTreeMap<u64, String>) -> Self {
        let name = self.place.as_deref();
        let places = self.document["places"].as_array();
        let place = places.into_iter().flatten().find(|place| name.is_some_and(|name| place["name"] == *name));
        let host = place.and_then(|place| hosts.get(&place["netns"].as_u64()?)).cloned();
        Self { place: host.or(self.place), ..self }
    }
}

/// Returns what was changed: `request destination 10.0.0.1 > 10.0.0.2`.
fn alterations(document: &Value) -> Vec<String> {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let one = |change: &Value| {
        let [leg, field, sent, seen] = ["leg", "field", "sent", "seen"].map(|name| plain(&change[name]));
        format!("{leg} {field} {sent} > {seen}")
    };
    document["alterations"].as_array().into_iter().flatten().map(one).collect()
}

/// Returns whether any text in `value` contains `words`.
fn contains(value: &Value, words: &str) -> bool {
    match value {
        Value::String(text) => text.contains(words),
        Value::Array(values) => values.iter().any(|value| contains(value, words)),
        Value::Object(fields) => fields.values().any(|value| contains(value, words)),
        _ => false,
    }
}
