//! All that is known after a run, in the shape in which it is judged.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::sighting::{HostSight, Sending};

/// All that is known after a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Evidence {
    /// Whom the probes were for.
    pub(super) target: Target,
    /// What was sent.
    pub(super) mode: Mode,
    /// Who was to answer at the far end.
    pub(super) responder: Responder,
    /// What the sending program knows.
    pub(super) sending: Sending,
    /// What the sending host saw.
    pub(super) local: HostSight,
    /// What the far end saw; none: nobody watched there.
    pub(super) peer: Option<HostSight>,
    /// Which routers answered to a rising TTL, where that was asked for.
    pub(super) walk: Option<Walk>,
}

/// Whom the probes were for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target {
    /// What was typed.
    pub(super) name: String,
    /// Its address.
    pub(super) address: IpAddr,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// Requests, which want an answer.
    #[default]
    Request,
    /// Replies that nobody asked for.
    ReplyOnly,
}

/// Who answers requests at the far end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Responder {
    /// Its kernel.
    #[default]
    Kernel,
}

/// What a rising TTL found out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Walk {
    /// One for each TTL that was tried, from 1 up.
    pub(super) steps: Vec<WalkStep>,
}

/// Who answered to one TTL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WalkStep {
    /// The TTL or hop limit.
    pub(super) ttl: u8,
    /// Who answered; none: nobody.
    pub(super) from: Option<IpAddr>,
}
