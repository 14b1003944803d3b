//! What became of finding the neighbour, where that is what fails: who asked, who heard, who answered, and what ended it.
//!
//! A stop says where packets wait, or where they went instead; `explain` adds why, from the packets of ARP and neighbour
//! discovery that watched hosts saw and from what they know of addresses, devices and routes.

mod bound;
mod bridged;
mod freed;
mod gateway;
mod one_device;
mod owner;
mod proxied;
mod search;
mod silence;
mod silent;
mod tunnelled;
mod unheard;
mod unlinked;
mod way_back;
mod words;
pub(super) mod wrong;

use super::{
    Evidence,
    document::{Command, Netfilter, SettingSaid, Stop, StopHost},
    hooks,
    path::Side,
    places::DropPoint,
    resolution::{NeighbourFinding, NeighbourSaid, OtherHost},
};
use search::Search;

/// Why questions do not get where they should.
struct LostQuestion {
    /// The reason, as a clause.
    clause: String,
    /// What it means and what helps, in a sentence.
    meaning: String,
    /// The commands to type where they are lost, or at the asker.
    commands: Vec<String>,
}

/// What is said of a stop.
struct Told {
    finding: NeighbourFinding,
    /// The reason, as a clause.
    clause: String,
    /// The sentence without its subject: `went to …`; none: the clause goes into the usual one.
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

/// Adds to `stop` what became of finding the neighbour, if packets wait for one or went to a wrong one.
pub(super) fn explain(stop: &mut Stop, evidence: &Evidence) {
    let waiting = stop.place == DropPoint::Neighbour;
    let search = search_of(stop, evidence, waiting);
    let found = search.and_then(|search| {
        let told = if waiting { silent::told(&search) } else { wrong::told(&search, stop) };
        Some((search, told?))
    });
    let Some((search, mut told)) = found.or_else(|| unanswered(stop, evidence)) else { return };
    if stop.host == StopHost::Beyond && told.sentence.is_none() {
        let (name, device) = (evidence.name(Side::Local), &evidence.local.host.interface);
        told.sentence = Some(format!("left {name}'s {device}, and nothing came back: {}", told.clause));
    }
    stop.cause.neighbour = Some(NeighbourSaid {
        address: search.address,
        interface: search.interface.clone(),
        finding: told.finding,
        lladdr: search.lladdr.clone(),
        steps: search.steps(),
    });
    // The address decides, whatever setting would have let the packets go on from where they are.
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

/// Returns the search that `stop` waits for; where it does not wait, the one that sent packets where they stopped.
fn search_of<'a>(stop: &Stop, evidence: &'a Evidence, waiting: bool) -> Option<Search<'a>> {
    let first = stop.leg == evidence.first_leg();
    let end = if first { Some(evidence.target.address) } else { evidence.local.host.address }?;
    if waiting {
        let side = stop.whose.side()?;
        // After its own NAT, a router sends them to their new destination.
        let there = evidence.place(side).and_then(|place| hooks::destination(place, stop.leg));
        return Search::at(side, there.unwrap_or(end), evidence);
    }
    // On the way to where they stopped: the sender of this leg, and every place after it that asked for somebody.
    let sender = if first { Side::Local } else { Side::Peer };
    let vias = evidence.sides().filter(|side| matches!(side, Side::Via(_)));
    let askers = std::iter::once(sender).chain(vias);
    let askers = askers.filter(|side| *side != Side::Peer || evidence.two_sided());
    let here = stop.whose.side();
    askers
        .filter(|side| Some(*side) != here)
        .filter_map(|side| Search::at(side, end, evidence))
        .find(|search| search.lladdr.is_some() && wrong::misleads(search, stop))
}

/// Returns the questions of somebody unwatched that a watched end left unanswered: the last router before it does not
/// find it as a neighbour, so packets for it are lost on the network.
fn unanswered<'a>(stop: &Stop, evidence: &'a Evidence) -> Option<(Search<'a>, Told)> {
    let (side, asker, end) = match (stop.host, stop.leg == evidence.first_leg()) {
        (StopHost::Network, true) if evidence.two_sided() => (Side::Peer, Side::Local, evidence.target.address),
        (StopHost::Network, false) => (Side::Local, Side::Peer, evidence.local.host.address?),
        (StopHost::Beyond, _) => (Side::Local, Side::Peer, evidence.local.host.address?),
        _ => return None,
    };
    let search = Search::from_outside(asker, end, evidence);
    let told = silent::by_its_own(&search, side)?;
    Some((search, Told { sentence: None, ..told }))
}

/// Returns who answered in place of the far end, if that was watched and saw nothing of what was answered.
pub(super) fn answered_by_other(evidence: &Evidence) -> Option<OtherHost> {
    if !evidence.passes_by_the_peer() || evidence.sending.received.is_empty() {
        return None;
    }
    Some(wrong::other(evidence))
}
