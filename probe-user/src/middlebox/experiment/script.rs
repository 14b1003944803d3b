//! An experiment as data, checked: whatever is held here can be run.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::middlebox::timeline::{Endpoint, MAX_SHOTS, Own};

/// An experiment: what it tries, and its steps in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// What it tries, in a few words.
    pub title: String,
    /// The question that its case answers.
    pub question: Option<String>,
    /// How often it is made, each time with fresh ids, interleaved; the repetitions vote.
    pub repeat: u16,
    /// Ids that must have a certain number; all others are random.
    pub fixed: BTreeMap<String, u16>,
    /// The steps, in order. At least one sends.
    pub steps: Vec<ScriptStep>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum ScriptStep {
    /// Do nothing for so long.
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
    /// What becomes of it by design.
    pub expect: Expect,
    /// What it is for.
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
    /// Its name in files and reports.
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
    /// The address that the id's packets came from, where some have come (behind a NAT not the other end's own);
    /// otherwise its first.
    #[default]
    First,
    /// Its second.
    Second,
}

impl Expect {
    /// Its name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arrives => "arrives",
            Self::Stops => "stops",
            Self::Any => "any",
        }
    }
}

impl StepRole {
    /// Its name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Control => "control",
            Self::Case => "case",
        }
    }
}

/// What becomes of a step's packets by design.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// They reach the other end's NIC.
    Arrives,
    /// They leave their own NIC and do not.
    Stops,
    /// That is the question.
    #[default]
    Any,
}

/// What a step is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepRole {
    /// It prepares the others: a request that is to be answered.
    #[default]
    Setup,
    /// It shows that the way is as it should be: nothing is concluded where it fails.
    Control,
    /// It is what the experiment is about.
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
    /// The steps that send, with their places among all steps.
    pub fn sends(&self) -> impl Iterator<Item = (usize, &Sends)> {
        self.steps.iter().enumerate().filter_map(|(place, step)| match step {
            ScriptStep::Send(sends) => Some((place, sends)),
            ScriptStep::Wait(_) => None,
        })
    }

    /// Why all repetitions together are too much, where they are.
    ///
    /// # Errors
    /// The sentence that says so.
    pub fn fits(&self) -> Result<(), String> {
        let packets = self.packets() * usize::from(self.repeat);
        if packets > MAX_SHOTS {
            return Err(format!("it sends {packets} packets in all its repetitions, more than {MAX_SHOTS}"));
        }
        Ok(())
    }

    /// How many packets one repetition sends.
    pub fn packets(&self) -> usize {
        self.sends().map(|(_, sends)| usize::from(sends.count)).sum()
    }
}
