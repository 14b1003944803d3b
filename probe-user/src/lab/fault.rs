//! The fault catalogue: what can be broken in the lab, where, how, and what a diagnosis must then say; all of it data.

pub mod action;
pub mod breaking;
pub mod case;
mod catalogue;
mod cgroup;
pub mod choice;
pub mod error;
pub mod exchange;
pub mod expect;
mod noise;
pub mod pinged;
mod probe_filter;
pub mod runner;
pub mod scene;
pub mod site;
pub mod socket;
mod tool;

use std::time::Duration;

use probe_ebpf::Echo;
use probe_ebpf::Family;

pub use self::{
    action::FaultAction,
    breaking::{Broken, break_lab},
    case::{CatalogueCase, NamedCase},
    cgroup::sweep as sweep_cgroups,
    choice::{CaseSelection, choose},
    error::FaultError,
    expect::{Confidence, ExpectedDiagnosis, Got, Layer, Outcome, Side},
    pinged::{LikePing, Pinged, like_ping},
    runner::{CaseProgress, CatalogueRun, Diagnoser, JudgedCase},
    scene::{BuiltScene, Scene, SceneCase, SceneError},
    site::FaultSite,
    socket::SocketTrouble,
};

/// Where on a leg of the path a fault lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultLocation {
    /// Nowhere: the path is healthy, whatever else goes on.
    Nothing,
    /// On the host that sends on this leg.
    Sender,
    /// Between the two hosts.
    Network,
    /// On the host that receives on this leg.
    Receiver,
}

impl FaultLocation {
    /// Returns its name in lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Sender => "sender",
            Self::Network => "network",
            Self::Receiver => "receiver",
        }
    }

    /// Returns the side of the diagnosis on which it lies, or `None` for a healthy path.
    pub const fn side(self, leg: Echo) -> Option<Side> {
        match (self, leg) {
            (Self::Nothing, _) => None,
            (Self::Network, _) => Some(Side::Network),
            (Self::Sender, Echo::Request) | (Self::Receiver, Echo::Reply) => Some(Side::Local),
            (Self::Sender, Echo::Reply) | (Self::Receiver, Echo::Request) => Some(Side::Peer),
        }
    }
}

/// The probes that a fault needs. `None` leaves the choice to the diagnosis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// How many.
    pub count: Option<u16>,
    /// The time from one to the next.
    pub interval: Option<Duration>,
    /// Payload bytes.
    pub size: Option<u16>,
    /// Whether they forbid fragmentation (`--df`).
    pub dont_fragment: bool,
    /// TTL or hop limit.
    pub ttl: Option<u8>,
    /// Their source address: IPv4, IPv6.
    pub source: Option<(&'static str, &'static str)>,
    /// Their echo id.
    pub id: Option<u16>,
    /// Whether unsolicited replies are sent instead of requests (`--reply-only`).
    pub reply_only: bool,
    /// What is wrong with the socket that reads the replies; in [`own_socket`] only.
    pub socket: Option<SocketTrouble>,
}

impl Probe {
    /// Probes with the defaults of the diagnosis.
    pub const PLAIN: Self = Self {
        count: None,
        interval: None,
        size: None,
        dont_fragment: false,
        ttl: None,
        source: None,
        id: None,
        reply_only: false,
        socket: None,
    };

    /// As many probes as a run can have, as fast as a busy `ping` sends them.
    pub const MANY: Self = Self { count: Some(1024), interval: Some(Duration::from_micros(500)), ..Self::PLAIN };

    /// Returns probes with this payload size in bytes.
    pub const fn sized(size: u16) -> Self {
        Self { size: Some(size), ..Self::PLAIN }
    }

    /// Returns such probes with fragmentation forbidden.
    pub const fn whole(size: u16) -> Self {
        Self { size: Some(size), dont_fragment: true, ..Self::PLAIN }
    }

    /// Returns probes with this TTL or hop limit.
    pub const fn ttl(ttl: u8) -> Self {
        Self { ttl: Some(ttl), ..Self::PLAIN }
    }

    /// Returns their source address of this family.
    pub fn source(&self, family: Family) -> Option<std::net::IpAddr> {
        let (v4, v6) = self.source?;
        let text = if family == Family::V4 { v4 } else { v6 };
        Some(text.parse().expect("the catalogue holds addresses; a test reads them all"))
    }
}

/// IPv4 and IPv6.
pub const BOTH: &[Family] = &[Family::V4, Family::V6];
/// IPv4 only.
pub const V4: &[Family] = &[Family::V4];
/// IPv6 only.
pub const V6: &[Family] = &[Family::V6];
/// The request's leg and the reply's.
pub const EACH: &[Echo] = &[Echo::Request, Echo::Reply];
/// The request's leg.
pub const REQUEST: &[Echo] = &[Echo::Request];
/// The reply's leg.
pub const REPLY: &[Echo] = &[Echo::Reply];

/// One row of the catalogue. Its texts name hosts and addresses by their part on the leg ([`FaultSite`]), so that one row
/// serves both legs and both families.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name, in kebab case; with the side it lies on it names a case.
    pub name: &'static str,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// For which families it exists.
    pub families: &'static [Family],
    /// Where it lies.
    pub place: FaultLocation,
    /// On which legs it can lie.
    pub legs: &'static [Echo],
    /// How to break the lab, in this order.
    pub actions: &'static [FaultAction],
    /// What probes it needs.
    pub probe: Probe,
    /// What a diagnosis must say.
    pub expected: ExpectedDiagnosis,
    /// The program that must be installed for it, if that is more than the lab itself needs: IPv4's, IPv6's.
    pub needs: Option<(&'static str, &'static str)>,
}

/// One row of the catalogue in one place.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name on the command line: the side, and the fault, e.g. `peer-nft-input`.
    pub name: String,
    /// The fault.
    pub fault: &'static Fault,
    /// Over which IP version.
    pub family: Family,
    /// On which leg.
    pub leg: Echo,
}

impl Case {
    fn new(fault: &'static Fault, family: Family, leg: Echo) -> Self {
        let name = match fault.place.side(leg) {
            None => fault.name.to_owned(),
            Some(Side::Network) if fault.legs.len() > 1 => {
                let which = if leg == Echo::Request { "requests" } else { "replies" };
                format!("network-{}-{which}", fault.name)
            }
            Some(side) => format!("{}-{}", side.name(), fault.name),
        };
        Self { name, fault, family, leg }
    }

    /// Returns the hosts that play each part on this leg.
    pub fn site(&self) -> FaultSite {
        FaultSite { family: self.family, leg: self.leg }
    }

    /// Returns the side of the diagnosis on which packets stop, or `None` if they do not.
    pub fn side(&self) -> Option<Side> {
        self.fault.place.side(self.leg)
    }

    /// Returns the program that the case needs beyond what the lab itself needs.
    pub fn needs(&self) -> Option<&'static str> {
        let (v4, v6) = self.fault.needs?;
        Some(if self.family == Family::V4 { v4 } else { v6 })
    }

    /// Returns where the expectation differs from `got`; empty if the diagnosis is right.
    pub fn differences(&self, got: &Got) -> Vec<String> {
        self.fault.expected.differences(self.leg, self.side(), got)
    }
}

/// Returns the whole catalogue: the cases of [`all`], then those of the built-in scenes.
pub fn everything() -> Vec<CatalogueCase> {
    all().into_iter().map(Into::into).chain(scene::all().into_iter().map(Into::into)).collect()
}

/// Returns every case of the lab's rows that can be diagnosed, healthy ones first, then in path order.
pub fn all() -> Vec<Case> {
    cases(catalogue::rows())
}

/// Returns the cases in which a program breaks its own socket, which only the library's tests can try.
pub fn own_socket() -> Vec<Case> {
    cases(catalogue::own_socket())
}

fn cases(rows: impl Iterator<Item = &'static Fault>) -> Vec<Case> {
    let mut cases = Vec::new();
    for fault in rows {
        for leg in fault.legs {
            cases.extend(fault.families.iter().map(|family| Case::new(fault, *family, *leg)));
        }
    }
    cases
}

#[cfg(test)]
mod tests;
