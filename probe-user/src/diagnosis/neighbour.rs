//! What became of finding the neighbour, where that is what fails: who asked, who heard, who answered, and what ended it.
//!
//! A stop says where packets wait, or where they went instead; [`explain`] adds why, from the packets of ARP and neighbour
//! discovery that watched hosts saw and from what they know of addresses, devices and routes.

mod freed;
mod silent;
mod unheard;
mod view;
mod words;
mod wrong;

use schemars::JsonSchema;
use serde::Serialize;
use std::net::IpAddr;

use super::{
    Evidence,
    document::{Command, Netfilter, SettingSaid, Stop, StopHost},
    path::Side,
    places::DropPoint,
};
use crate::model::trace::{NeighbourHop, NeighbourKind};
use view::View;
pub use wrong::Other as OtherHost;

/// What became of finding the neighbour of a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NeighbourSaid {
    /// The address that is asked for: the next hop.
    pub address: IpAddr,
    /// The device by which it is asked for.
    pub interface: String,
    /// What ended it.
    pub finding: NeighbourFinding,
    /// The link-layer address that the entry has; none: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lladdr: Option<String>,
    /// Questions and answers by where they were seen, in the order of the way.
    pub steps: Vec<NeighbourStep>,
}

/// How many packets of ARP or neighbour discovery were at one point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NeighbourStep {
    /// In which of the places, by its name.
    pub place: String,
    /// At which of its devices.
    pub interface: Option<String>,
    /// Questions or answers.
    pub kind: NeighbourKind,
    /// Leaving, entering, or freed.
    pub hop: NeighbourHop,
    /// How many.
    pub packets: usize,
}

/// What ended the search for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NeighbourFinding {
    /// The host that asks drops its own questions.
    QuestionDroppedHere,
    /// A host that they reached drops them.
    QuestionDroppedThere,
    /// The host that is asked drops its own answers.
    AnswerDroppedThere,
    /// The host that asked drops the answers.
    AnswerDroppedHere,
    /// Answers left, and did not come.
    AnswerLost,
    /// The answer came in by another device.
    AnswerAtOtherDevice,
    /// The device is a port of another one, which takes what comes in.
    DeviceIsAPort,
    /// The two devices are of one, and cannot reach each other.
    DevicesOfOne,
    /// The host that has the address is told not to answer.
    ToldNotToAnswer,
    /// The address is there, and may not be used.
    AddressNotUsable,
    /// The address is on another device of the host that was asked.
    AddressOnOtherDevice,
    /// The address is on another link, or in another namespace.
    AddressElsewhere,
    /// The route says that the address is on this link, and it is not.
    PrefixTooWide,
    /// The route has no gateway, so that every address is asked for on the link.
    NoGateway,
    /// The gateway is not there.
    GatewayGone,
    /// The host that was asked has the address and did not answer.
    Silent,
    /// Nobody answers.
    Nobody,
    /// The entry has another link-layer address than the host that has the address.
    WrongEntry,
    /// Several hosts have the address.
    SeveralHosts,
}

/// What is said of a stop.
struct Told {
    finding: NeighbourFinding,
    /// The reason, as a clause.
    clause: String,
    /// The whole sentence but for how many packets: `went to …`; none: the clause in the usual one.
    sentence: Option<String>,
    /// What it means and what helps, in a sentence.
    meaning: String,
    commands: Vec<Command>,
    netfilter: Option<Netfilter>,
    setting: Option<SettingSaid>,
    program: Option<String>,
}

impl Told {
    fn new(finding: NeighbourFinding, clause: String, meaning: impl Into<String>, commands: Vec<Command>) -> Self {
        let meaning = meaning.into();
        Self { finding, clause, sentence: None, meaning, commands, netfilter: None, setting: None, program: None }
    }
}

/// Adds to `stop` what became of finding the neighbour, where packets wait for one or went to a wrong one.
pub(super) fn explain(stop: &mut Stop, evidence: &Evidence) {
    let waiting = stop.place == DropPoint::Neighbour;
    let view = View::of(stop, evidence, waiting);
    let found = view.and_then(|view| {
        let told = if waiting { silent::told(&view) } else { wrong::told(&view, stop) };
        Some((view, told?))
    });
    let Some((view, told)) = found.or_else(|| unanswered(stop, evidence)) else { return };
    stop.cause.neighbour = Some(NeighbourSaid {
        address: view.address,
        interface: view.interface.clone(),
        finding: told.finding,
        lladdr: view.lladdr.clone(),
        steps: view.steps(),
    });
    // The address is what decides, whatever setting would have let the packets go on from where they are.
    stop.cause.setting = told.setting;
    stop.cause.netfilter = told.netfilter;
    stop.cause.program = told.program;
    stop.cause.detail = Some(told.clause);
    stop.told = told.sentence;
    stop.meaning = told.meaning;
    if !told.commands.is_empty() {
        stop.commands = told.commands;
        if let Some(first) = stop.commands.first() {
            stop.advice = format!("on {}: {}", evidence.name(first.on.unwrap_or(Side::Local)), first.command);
        }
    }
}

/// What a watched end left unanswered that somebody unwatched asked it: the last router before it, to which it is no
/// neighbour, so that packets for it are lost on the network.
fn unanswered<'a>(stop: &Stop, evidence: &'a Evidence) -> Option<(View<'a>, Told)> {
    let (side, asker, end) = match (stop.host, stop.leg == evidence.first_leg()) {
        (StopHost::Network, true) if evidence.two_sided() => (Side::Peer, Side::Local, evidence.target.address),
        (StopHost::Network, false) => (Side::Local, Side::Peer, evidence.local.host.address?),
        (StopHost::Beyond, _) => (Side::Local, Side::Peer, evidence.local.host.address?),
        _ => return None,
    };
    let view = View::from_outside(asker, end, evidence);
    let told = silent::by_its_own(&view, side)?;
    let device = &evidence.local.host.interface;
    let sentence = (stop.host == StopHost::Beyond)
        .then(|| format!("left {}'s {device}, and nothing came back: {}", evidence.name(Side::Local), told.clause));
    Some((view, Told { sentence, ..told }))
}

/// Who answered in the far end's place, where it was watched and saw nothing of what was answered.
pub(super) fn answered_by_other(evidence: &Evidence) -> Option<OtherHost> {
    if !evidence.passes_by_the_peer() || evidence.sending.received.is_empty() {
        return None;
    }
    Some(wrong::other(evidence))
}
