//! The echoes that were followed, sorted by who sent them to whom, with what became of them, the worst first.

use std::{cmp::Reverse, collections::BTreeMap, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fate, Sight};
use crate::model::followed::{FollowedEcho, SendingProcess};

/// What this host is to an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FollowedRole {
    /// A program on it sends the requests.
    Sender,
    /// Requests and replies cross it.
    Router,
    /// The requests are for it.
    Target,
}

/// Echoes of one program to one host, or of one host to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedFlow {
    /// What this host is to them.
    pub role: FollowedRole,
    /// The host that sends the requests.
    pub from: IpAddr,
    /// The host that the requests are for.
    pub to: IpAddr,
    /// The program that sends them; none: not known.
    pub sender: Option<SendingProcess>,
    /// Their id, if all have the same.
    pub id: Option<u16>,
    /// The echoes, in the order of first sight.
    pub echoes: Vec<FollowedEcho>,
}

/// The report on echoes that were followed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FollowedRun {
    /// How long echoes were watched for, in milliseconds.
    pub watched_ms: u64,
    /// Whether only the echoes of one command and of its children were followed.
    pub of_command: bool,
    /// Requests that were seen when there was no room for more.
    pub left_out: u64,
    /// The flows that were seen: first the one that the verdict is about, then those with most losses.
    pub flows: Vec<FlowTold>,
}

/// The report on one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlowTold {
    /// What this host is to the echoes.
    pub role: FollowedRole,
    /// The host that sends the requests.
    pub from: IpAddr,
    /// The host that the requests are for.
    pub to: IpAddr,
    /// The name of the program that sends them; none: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Its process; none: not known, or several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Their id; none: they have several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
    /// How many requests were seen.
    pub requests: usize,
    /// How many of them were answered.
    pub answered: usize,
    /// How many may still be answered, and are not counted.
    pub under_way: usize,
    /// How many ended at routers where their TTL ran out, as intended: the program raises it step by step. They are not
    /// counted.
    #[serde(default)]
    pub walked: usize,
}

impl FlowTold {
    /// Returns how many were lost.
    pub fn lost(&self) -> usize {
        self.requests - self.answered - self.under_way - self.walked
    }

    /// Describes who sends the echoes and what became of them, for people.
    pub fn text(&self, arrow: &str) -> String {
        let Self { from, to, requests, answered, .. } = self;
        let whose = match (&self.program, self.pid, self.role) {
            (Some(program), Some(pid), _) => format!("{program} (pid {pid}), "),
            (Some(program), None, _) => format!("{program}, "),
            (None, _, FollowedRole::Sender) => String::new(),
            (None, _, FollowedRole::Router) => "crossing this host, ".to_owned(),
            (None, _, FollowedRole::Target) => "for this host, ".to_owned(),
        };
        let id = self.id.map(|id| format!(", id {id} ({id:#x})")).unwrap_or_default();
        let noun = if *requests == 1 { "request" } else { "requests" };
        let open = if self.under_way > 0 { format!(", {} not yet answered", self.under_way) } else { String::new() };
        let walked = if self.walked > 0 { format!(", {} for routers on the way", self.walked) } else { String::new() };
        format!("{whose}{from} {arrow} {to}{id}: {requests} {noun}, {answered} answered{walked}{open}")
    }
}

impl FollowedFlow {
    /// Returns the report on it after that sight.
    pub fn told(&self, sight: Sight<'_>) -> FlowTold {
        let fates: Vec<Fate> = sight.fates(self).into_iter().map(|(_, fate)| fate).collect();
        let count = |wanted: fn(&Fate) -> bool| fates.iter().filter(|fate| wanted(fate)).count();
        FlowTold {
            role: self.role,
            from: self.from,
            to: self.to,
            program: self.sender.as_ref().map(|sender| sender.program.clone()).filter(|name| !name.is_empty()),
            pid: self.sender.as_ref().map(|sender| sender.pid).filter(|pid| *pid != 0),
            id: self.id,
            requests: fates.len(),
            answered: count(|fate| matches!(fate, Fate::Answered(_))),
            under_way: count(|fate| *fate == Fate::UnderWay),
            walked: count(|fate| *fate == Fate::Walked),
        }
    }
}

/// Sorts echoes by who sent them to whom; `is_own` says which addresses are this host's.
///
/// A program that runs again and again with an id of its own each time, for one echo, is one flow; two that run beside each other
/// are two.
pub fn flows(echoes: &[FollowedEcho], is_own: impl Fn(IpAddr) -> bool) -> Vec<FollowedFlow> {
    type Pair = (FollowedRole, IpAddr, IpAddr, Option<String>);
    let mut pairs: BTreeMap<Pair, Vec<&FollowedEcho>> = BTreeMap::new();
    for echo in echoes {
        let role = match echo.sent_here {
            true => FollowedRole::Sender,
            false if is_own(echo.far) || echo.far.is_multicast() => FollowedRole::Target,
            false => FollowedRole::Router,
        };
        let program = echo.sender.as_ref().map(|sender| sender.program.clone());
        pairs.entry((role, echo.near, echo.far, program)).or_default().push(echo);
    }
    pairs.into_iter().flat_map(|((role, from, to, _), echoes)| split(role, (from, to), &echoes)).collect()
}

fn split(role: FollowedRole, (from, to): (IpAddr, IpAddr), echoes: &[&FollowedEcho]) -> Vec<FollowedFlow> {
    let key = |echo: &FollowedEcho| (echo.id, echo.sender.as_ref().map(|sender| sender.pid));
    let mut parts: BTreeMap<_, Vec<FollowedEcho>> = BTreeMap::new();
    for echo in echoes {
        parts.entry(key(echo)).or_default().push((*echo).clone());
    }
    let flow = |echoes: Vec<FollowedEcho>| {
        let same = |other: &FollowedEcho| Some(other.id) == echoes.first().map(|echo| echo.id);
        let pids: Vec<Option<u32>> = echoes.iter().map(|echo| echo.sender.as_ref().map(|it| it.pid)).collect();
        let one = pids.windows(2).all(|pair| pair[0] == pair[1]);
        let sender = echoes.first().and_then(|echo| echo.sender.clone());
        FollowedFlow {
            role,
            from,
            to,
            id: echoes.iter().all(same).then(|| echoes.first().map(|echo| echo.id)).flatten(),
            sender: sender.map(|sender| if one { sender } else { SendingProcess { pid: 0, ..sender } }),
            echoes,
        }
    };
    if parts.values().all(|part| part.len() == 1) {
        return vec![flow(echoes.iter().map(|echo| (*echo).clone()).collect())];
    }
    parts.into_values().map(flow).collect()
}

/// Puts the flow that the verdict is about first: the one with most losses, or with most requests if several have as
/// many.
pub fn worst_first(flows: &mut [FollowedFlow], sight: Sight<'_>) {
    flows.sort_by_cached_key(|flow| {
        let told = flow.told(sight);
        (Reverse(told.lost()), Reverse(told.requests), flow.role)
    });
}
