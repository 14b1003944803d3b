//! Scene files as they are typed: what TOML itself can check.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::lab::fault::expect::{Confidence, Layer, Outcome, Side};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScene {
    pub(super) title: String,
    pub(super) from: Spanned<String>,
    pub(super) target: Spanned<String>,
    pub(super) address: Option<Spanned<String>>,
    pub(super) links: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) words: BTreeMap<String, [String; 2]>,
    #[serde(default)]
    pub(super) needs: BTreeMap<String, String>,
    pub(super) host: BTreeMap<String, RawHost>,
    #[serde(default)]
    pub(super) watch: BTreeMap<String, RawWatch>,
    #[serde(default)]
    pub(super) case: Vec<RawCase>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHost {
    #[serde(default)]
    pub(super) forwards: bool,
    #[serde(default)]
    pub(super) addresses: BTreeMap<String, Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) gateways: Vec<Spanned<String>>,
    pub(super) way: Option<[String; 2]>,
    pub(super) devices: Option<Spanned<String>>,
    pub(super) setup: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWatch {
    pub(super) peer: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) via: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) own_namespace: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCase {
    pub(super) name: Spanned<String>,
    pub(super) title: Spanned<String>,
    pub(super) families: Option<Vec<Spanned<u8>>>,
    pub(super) legs: Option<Vec<RawLeg>>,
    pub(super) watches: Option<Vec<Spanned<String>>>,
    #[serde(default, rename = "break")]
    pub(super) scripts: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) drops: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) needs: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) probe: RawProbe,
    pub(super) flags: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) expect: RawExpected,
    /// What differs for some watches.
    #[serde(default)]
    pub(super) expect_for: BTreeMap<String, Spanned<RawExpected>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawLeg {
    Request,
    Reply,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProbe {
    pub(super) count: Option<u16>,
    /// Seconds from one to the next.
    pub(super) interval: Option<Spanned<f64>>,
    pub(super) size: Option<u16>,
    #[serde(default)]
    pub(super) df: bool,
    pub(super) ttl: Option<u8>,
    pub(super) id: Option<u16>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExpected {
    pub(super) outcome: Option<OneOrMore<Outcome>>,
    pub(super) place: Option<OneOrMore<String>>,
    pub(super) host: Option<OneOrMore<Side>>,
    pub(super) layer: Option<OneOrMore<Layer>>,
    pub(super) reason: Option<OneOrMore<String>>,
    pub(super) hook: Option<String>,
    pub(super) chain: Option<String>,
    pub(super) neighbour: Option<String>,
    pub(super) setting: Option<String>,
    pub(super) confidence: Option<Confidence>,
    pub(super) any_leg: Option<bool>,
    pub(super) stops: Option<usize>,
    pub(super) alterations: Option<Vec<String>>,
    pub(super) says: Option<Vec<String>>,
    pub(super) tells: Option<Vec<String>>,
    pub(super) never: Option<Vec<String>>,
}

/// A value, or several of which any is right.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T: Clone> OneOrMore<T> {
    pub(super) fn list(&self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one.clone()],
            Self::More(more) => more.clone(),
        }
    }
}

impl RawExpected {
    /// Returns what is expected if `special` overrides some of it.
    pub(super) fn but(&self, special: &Self) -> Self {
        let (base, special) = (self.clone(), special.clone());
        Self {
            outcome: special.outcome.or(base.outcome),
            place: special.place.or(base.place),
            host: special.host.or(base.host),
            layer: special.layer.or(base.layer),
            reason: special.reason.or(base.reason),
            hook: special.hook.or(base.hook),
            chain: special.chain.or(base.chain),
            neighbour: special.neighbour.or(base.neighbour),
            setting: special.setting.or(base.setting),
            confidence: special.confidence.or(base.confidence),
            any_leg: special.any_leg.or(base.any_leg),
            stops: special.stops.or(base.stops),
            alterations: special.alterations.or(base.alterations),
            says: special.says.or(base.says),
            tells: special.tells.or(base.tells),
            never: special.never.or(base.never),
        }
    }
}
