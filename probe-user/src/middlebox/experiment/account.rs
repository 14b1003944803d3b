//! Each step's packets as evidence of a diagnosis, so that the same ledger and the same rules say where they stop.

use super::{outcome::Names, plan::Plan};
use crate::{
    diagnosis::{Evidence, Mode, Responder, Target},
    middlebox::timeline::{EchoId, Ends, Landing, Message, Run, Sending as Fate, Side, Timeline},
    model::trace::{HostSight, Sending, SentProbe},
};

/// What both hosts saw of a run.
#[derive(Clone, Copy, Debug)]
pub struct Sights<'a> {
    /// What became of each shot.
    pub run: &'a Run,
    /// What the near end saw.
    pub near: &'a HostSight,
    /// What the far end saw.
    pub far: &'a HostSight,
}

impl Sights<'_> {
    /// What one end saw.
    pub fn of(&self, side: Side) -> &HostSight {
        match side {
            Side::Near => self.near,
            Side::Far => self.far,
        }
    }
}

/// The packets of one step in all repetitions, as a run of their own: the end that sent them is the local one. Nothing
/// for ICMP errors, which no hop follows.
pub fn evidence(plan: &Plan, sights: Sights<'_>, (ends, names): (&Ends, &Names), step: usize) -> Option<Evidence> {
    let shots: Vec<usize> = (0..plan.origins.len()).filter(|shot| plan.origins[*shot].step == step).collect();
    let first = &plan.timeline.shots[*shots.first()?];
    let mode = match first.message {
        Message::Request => Mode::RequestOnly,
        Message::Reply => Mode::ReplyOnly,
        Message::Error(_) => return None,
    };
    let sent = shots.iter().filter_map(|shot| sent(&plan.timeline, *shot, &sights.run.landings));
    let sending = Sending { probes: sent.collect(), ..Sending::default() };
    let other = first.from.other();
    let address = ends.of(other)[0];
    let target = Target { name: address.to_string(), address };
    // Who is local changes from step to step: only their names tell them apart.
    let named = |side: Side| {
        let mut sight = sights.of(side).clone();
        names.of(side).clone_into(&mut sight.host.hostname);
        sight
    };
    let (local, peer) = (named(first.from), Some(named(other)));
    Some(Evidence { target, mode, responder: Responder::Nobody, sending, local, peer, walk: None })
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
