//! Experiment files as they are typed: what TOML itself can check.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::middlebox::{
    experiment::script::{Address, Expect, ScriptPacket, StepRole},
    timeline::{Endpoint, Own},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScript {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) question: Option<String>,
    pub(super) repeat: Option<Spanned<u16>>,
    #[serde(default)]
    pub(super) id: BTreeMap<String, Spanned<RawId>>,
    #[serde(default)]
    pub(super) step: Vec<Spanned<RawStep>>,
}

/// An id: 43, 0x2b, or "0x2b".
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "an id must be a number such as 43 or 0x2b")]
pub(super) enum RawId {
    Number(i64),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStep {
    pub(super) wait: Option<Spanned<f64>>,
    pub(super) from: Option<Endpoint>,
    pub(super) send: Option<ScriptPacket>,
    pub(super) id: Option<Spanned<String>>,
    pub(super) seq: Option<u16>,
    pub(super) count: Option<Spanned<u16>>,
    pub(super) interval: Option<Spanned<f64>>,
    pub(super) size: Option<Spanned<u16>>,
    pub(super) ttl: Option<u8>,
    pub(super) code: Option<u8>,
    pub(super) source: Option<RawOwn>,
    pub(super) destination: Option<Address>,
    pub(super) expect: Option<Expect>,
    pub(super) role: Option<StepRole>,
    pub(super) means: Option<RawMeans>,
}

/// An address of the sender.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawOwn {
    #[default]
    First,
    Second,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMeans {
    pub(super) arrives: Option<String>,
    pub(super) stops: Option<String>,
}

impl From<RawOwn> for Own {
    fn from(own: RawOwn) -> Self {
        match own {
            RawOwn::First => Self::First,
            RawOwn::Second => Self::Second,
        }
    }
}

impl RawStep {
    /// Returns whether any field is set that only makes sense in a step that sends.
    pub(super) fn sends_something(&self) -> bool {
        self.from.is_some()
            || self.id.is_some()
            || self.count.is_some()
            || self.expect.is_some()
            || self.role.is_some()
            || self.means.is_some()
    }
}
