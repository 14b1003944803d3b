//! Each step's packets as evidence of a diagnosis, so that the same ledger and the same rules say where they stop.

use super::{outcome::EndNames, plan::ExperimentPlan};
use crate::{
    diagnosis::{Evidence, ProbeMode, Responder, Target},
    middlebox::timeline::{
        EchoId, EndAddresses, Endpoint, Landing, PlayedTimeline, SendTime as Fate, Timeline, TimelinePacket,
    },
    model::trace::{HostTrace, SenderTrace, SentProbe},
};

/// What both hosts saw of a run.
#[derive(Clone, Copy, Debug)]
pub struct Sights<'a> {
    /// What became of each shot.
    pub run: &'a PlayedTimeline,
    /// What the near end saw.
    pub near: &'a HostTrace,
    /// What the far end saw.
    pub far: &'a HostTrace,
}

impl Sights<'_> {
    /// What one end saw.
    pub fn of(&self, side: Endpoint) -> &HostTrace {
        match side {
            Endpoint::Near => self.near,
            Endpoint::Far => self.far,
        }
    }
}

/// The packets of one step in all repetitions, as a run of their own: the end that sent them is the local one. Nothing
/// for ICMP errors, which no hop follows.
pub fn evidence(
    plan: &ExperimentPlan,
    sights: Sights<'_>,
    (ends, names): (&EndAddresses, &EndNames),
    step: usize,
) -> Option<Evidence> {
    let shots: Vec<usize> = (0..plan.origins.len()).filter(|shot| plan.origins[*shot].step == step).collect();
    let first = &plan.timeline.shots[*shots.first()?];
    let mode = match first.message {
        TimelinePacket::Request => ProbeMode::RequestOnly,
        TimelinePacket::Reply => ProbeMode::ReplyOnly,
        TimelinePacket::Error(_) => return None,
    };
    let sent = shots.iter().filter_map(|shot| sent(&plan.timeline, *shot, &sights.run.landings));
    let sending = SenderTrace { probes: sent.collect(), ..SenderTrace::default() };
    let other = first.from.other();
    let address = ends.of(other)[0];
    let target = Target { name: address.to_string(), address };
    // Who is local changes from step to step: only their names tell them apart.
    let named = |side: Endpoint| {
        let mut sight = sights.of(side).clone();
        names.of(side).clone_into(&mut sight.host.hostname);
        sight
    };
    let (local, peer) = (named(first.from), Some(named(other)));
    Some(Evidence { target, mode, responder: Responder::Nobody, sending, local, peer, walk: None, places: Vec::new() })
}

/// A shot as its sender knows it; nothing where it was not tried.
fn sent(timeline: &Timeline, shot: usize, landings: &[Landing]) -> Option<SentProbe> {
    let probe = u16::try_from(shot).ok()?;
    let id = match timeline.shots[shot].id {
        EchoId::Fixed(id) => id,
        EchoId::OfArrived(need) => landings[need].arrived.first()?.id,
    };
    let errno = match &landings[shot].sent {
        Fate::At(_) => None,
        Fate::Refused(errno) => Some(errno.clone()),
        Fate::NotTried(_) | Fate::NotReached => return None,
    };
    Some(SentProbe { probe, id, seq: timeline.shots[shot].seq, sent_ns: 0, errno })
}
