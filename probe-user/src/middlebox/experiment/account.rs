//! Each step's packets as evidence for a diagnosis, so that the same ledger and the same rules say where they stop.

use super::{outcome::EndNames, plan::ExperimentPlan};
use crate::{
    diagnosis::{Evidence, ProbeMode, Responder, Target},
    middlebox::timeline::{
        Delivery, EchoId, EndAddresses, Endpoint, PlayedTimeline, SendTime, Timeline, TimelinePacket,
    },
    model::trace::{HostTrace, SenderTrace, SentProbe},
};

/// What both hosts saw of a run.
#[derive(Clone, Copy, Debug)]
pub struct RunTraces<'a> {
    /// The outcome of each packet.
    pub run: &'a PlayedTimeline,
    /// What the near end saw.
    pub near: &'a HostTrace,
    /// What the far end saw.
    pub far: &'a HostTrace,
}

impl RunTraces<'_> {
    /// Returns what one end saw.
    pub fn of(&self, side: Endpoint) -> &HostTrace {
        match side {
            Endpoint::Near => self.near,
            Endpoint::Far => self.far,
        }
    }
}

/// Returns the packets of one step in all repetitions as a run of their own, in which the end that sent them is the
/// local one. Returns `None` for ICMP errors, which no hop follows.
pub fn evidence(
    plan: &ExperimentPlan,
    traces: RunTraces<'_>,
    (ends, names): (&EndAddresses, &EndNames),
    step: usize,
) -> Option<Evidence> {
    let packets: Vec<usize> = (0..plan.origins.len()).filter(|packet| plan.origins[*packet].step == step).collect();
    let first = &plan.timeline.packets[*packets.first()?];
    let mode = match first.message {
        TimelinePacket::Request => ProbeMode::RequestOnly,
        TimelinePacket::Reply => ProbeMode::ReplyOnly,
        TimelinePacket::Error(_) => return None,
    };
    let sent = packets.iter().filter_map(|packet| sent(&plan.timeline, *packet, &traces.run.deliveries));
    let sending = SenderTrace { probes: sent.collect(), ..SenderTrace::default() };
    let other = first.from.other();
    let address = ends.of(other)[0];
    let target = Target { name: address.to_string(), address };
    // Who is local changes from step to step: only their names tell them apart.
    let named = |side: Endpoint| {
        let mut trace = traces.of(side).clone();
        names.of(side).clone_into(&mut trace.host.hostname);
        trace
    };
    let (local, peer) = (named(first.from), Some(named(other)));
    Some(Evidence { mode, responder: Responder::Nobody, peer, ..Evidence::new(target, sending, local) })
}

/// Returns a packet as its sender knows it, or `None` if no send was tried.
fn sent(timeline: &Timeline, packet: usize, deliveries: &[Delivery]) -> Option<SentProbe> {
    let probe = u16::try_from(packet).ok()?;
    let id = match timeline.packets[packet].id {
        EchoId::Fixed(id) => id,
        EchoId::OfArrived(need) => deliveries[need].arrived.first()?.id,
    };
    let errno = match &deliveries[packet].sent {
        SendTime::At(_) => None,
        SendTime::Refused(errno) => Some(errno.clone()),
        SendTime::NotTried(_) | SendTime::NotReached => return None,
    };
    Some(SentProbe { probe, id, seq: timeline.packets[packet].seq, sent_ns: 0, errno })
}
