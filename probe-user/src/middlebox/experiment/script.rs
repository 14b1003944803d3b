//! An experiment as data, checked: whatever is held here can be run.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::middlebox::timeline::{Endpoint, MAX_PACKETS, Own};

/// An experiment: what it tries, and its steps in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// What it tests, in a few words.
    pub title: String,
    /// The question that its case answers.
    pub question: Option<String>,
    /// The number of repetitions, each with fresh ids, interleaved; the majority decides.
    pub repeat: u16,
    /// Ids that must have a certain number; all others are random.
    pub fixed: BTreeMap<String, u16>,
    /// The steps, in order. At least one sends.
    pub steps: Vec<ScriptStep>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum ScriptStep {
    /// Wait for this long.
    Wait(Duration),
    /// One end sends.
    Send(Sends),
}

/// What one end sends in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Sends {
    /// Which end.
    pub from: Endpoint,
    /// What kind of packet.
    pub packet: ScriptPacket,
    /// The name of its echo id. The same name is the same id throughout a repetition.
    pub id: String,
    /// Sequence number of the first packet.
    pub seq: u16,
    /// How many packets; their sequence numbers count up.
    pub count: u16,
    /// Time between two of them.
    pub interval: Duration,
    /// Payload bytes.
    pub size: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// ICMP code.
    pub code: u8,
    /// From which of the sender's addresses.
    pub source: Own,
    /// To which of the other end's addresses.
    pub destination: Address,
    /// What should happen to it by design.
    pub expect: Expect,
    /// Its role.
    pub role: StepRole,
    /// What it means when it arrives, and when it does not.
    pub means: OutcomeMeaning,
}

/// The kinds of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScriptPacket {
    /// An echo request.
    Request,
    /// An echo reply.
    Reply,
    /// An ICMP error, destination unreachable, that quotes the packet of an earlier step with the same id.
    Error,
}

impl ScriptPacket {
    /// Returns its name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
            Self::Error => "error",
        }
    }
}

/// An address of the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Address {
    /// The address that packets with this id came from, if some have arrived (behind a NAT not the other end's own);
    /// otherwise its first.
    #[default]
    First,
    /// Its second.
    Second,
}

impl Expect {
    /// Returns its name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arrives => "arrives",
            Self::Stops => "stops",
            Self::Any => "any",
        }
    }
}

impl StepRole {
    /// Returns its name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Control => "control",
            Self::Case => "case",
        }
    }
}

/// What should happen to a step's packets by design.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// They reach the other end's NIC.
    Arrives,
    /// They leave their own NIC and do not reach the other.
    Stops,
    /// Either: that is the question.
    #[default]
    Any,
}

/// The role of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepRole {
    /// It prepares the others: a request that is to be answered.
    #[default]
    Setup,
    /// It shows that the path is as it should be; if it fails, nothing is concluded.
    Control,
    /// It is the subject of the experiment.
    Case,
}

/// What a step's outcome means, in a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutcomeMeaning {
    /// When its packets arrive.
    pub arrives: Option<String>,
    /// When they do not.
    pub stops: Option<String>,
}

impl Script {
    /// Iterates over the steps that send, with their positions among all steps.
    pub fn sends(&self) -> impl Iterator<Item = (usize, &Sends)> {
        self.steps.iter().enumerate().filter_map(|(place, step)| match step {
            ScriptStep::Send(sends) => Some((place, sends)),
            ScriptStep::Wait(_) => None,
        })
    }

    /// Checks that all repetitions together are not too much.
    ///
    /// # Errors
    /// The sentence that says why they are.
    pub fn fits(&self) -> Result<(), String> {
        let packets = self.packets() * usize::from(self.repeat);
        if packets > MAX_PACKETS {
            return Err(format!("it sends {packets} packets in all its repetitions, more than {MAX_PACKETS}"));
        }
        Ok(())
    }

    /// Returns how many packets one repetition sends.
    pub fn packets(&self) -> usize {
        self.sends().map(|(_, sends)| usize::from(sends.count)).sum()
    }
}
