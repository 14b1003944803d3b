//! Models of boxes between two hosts: how each is built in the lab, and what is true of it.

pub mod built;
pub mod catalogue;
pub mod truth;

use std::{collections::BTreeMap, time::Duration};

use probe_ebpf::Family;

pub use self::{built::Built, catalogue::all, truth::Truth};
use crate::{
    filter::guard::GuardOptions,
    middlebox::datasheet::{Datasheet, Fact, FactFinding, FactValue},
};

/// A box between A and B, and what is true of it.
#[derive(Clone, Debug)]
pub struct BoxModel {
    /// Its name on the command line and in reports.
    pub name: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// How it is built.
    pub build: Build,
    /// For how long a timeout is looked for: well beyond those that the model has.
    pub longest: Duration,
    truths: BTreeMap<Fact, Truth>,
}

/// How a model is built, on the firewall's host, in place of the lab's own firewall.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// Rules, as `nft -f` reads them; `None` if the host forwards everything and tracks nothing.
    pub rules: Option<&'static str>,
    /// The timeout of connection tracking for a ping, in seconds; `None` for the kernel's default.
    pub timeout: Option<u32>,
    /// A guard on its interface towards B, which protects A.
    pub guard: Option<GuardOptions>,
}

/// One fact of a datasheet, compared with the truth.
#[derive(Clone, Debug)]
pub struct JudgedFact<'a> {
    /// The truth.
    pub truth: Truth,
    /// What was found.
    pub finding: &'a FactFinding,
    /// Whether that is right.
    pub right: bool,
}

impl BoxModel {
    /// Returns what is true of the model over `family`, by fact. Facts that are left out are not judged.
    pub fn truths(&self, family: Family) -> BTreeMap<Fact, Truth> {
        let of = |(fact, truth): (&Fact, &Truth)| (*fact, one_frame(truth, family));
        self.truths.iter().map(of).collect()
    }

    /// Judges the facts that `datasheet` was asked for and whose truth is known.
    pub fn judge<'a>(&self, datasheet: &'a Datasheet, family: Family) -> Vec<JudgedFact<'a>> {
        let truths = self.truths(family);
        let judged = |finding: &'a FactFinding| {
            let truth = truths.get(&finding.fact)?.clone();
            let right = truth.is_matched_by(&finding.value);
            Some(JudgedFact { truth, finding, right })
        };
        datasheet.facts.iter().filter_map(judged).collect()
    }
}

/// Payload bytes of the largest echo packet in one Ethernet frame of 1500 bytes over IPv4; 20 less over IPv6.
const ONE_FRAME: u16 = 1472;

/// Returns the sizes that pass if fragments do not, which differ between the IP versions.
fn one_frame(truth: &Truth, family: Family) -> Truth {
    match (truth, family) {
        (Truth::Is(FactValue::Sizes { request: ONE_FRAME, reply: ONE_FRAME, tried }), Family::V6) => {
            Truth::Is(FactValue::Sizes { request: ONE_FRAME - 20, reply: ONE_FRAME - 20, tried: *tried })
        }
        _ => truth.clone(),
    }
}
