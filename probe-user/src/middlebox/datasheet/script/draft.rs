//! A trial that is being written, with its own time.

use std::time::Duration;

use super::{PlanBuilder, TrialSubject};
use crate::middlebox::timeline::{EchoId, Endpoint, Goal, TimedPacket, TimelinePacket};

/// A trial that is being written, with its own time.
#[derive(Debug)]
pub(in crate::middlebox::datasheet) struct Draft<'s, 'i> {
    pub(super) script: &'s mut PlanBuilder<'i>,
    pub(super) start: Duration,
    pub(super) now: Duration,
}

impl Draft<'_, '_> {
    /// Returns an unused id.
    pub(in crate::middlebox::datasheet) fn fresh(&mut self) -> u16 {
        self.script.ids.fresh()
    }

    /// Returns a request with a fresh id, sent now.
    pub(in crate::middlebox::datasheet) fn request(&mut self, from: Endpoint) -> TimedPacket {
        let id = EchoId::Fixed(self.fresh());
        TimedPacket::new(self.now, from, TimelinePacket::Request, id)
    }

    /// Returns a reply with a fresh id, sent now to the address that `anchor` came from.
    pub(in crate::middlebox::datasheet) fn stray(&mut self, anchor: usize) -> TimedPacket {
        let id = EchoId::Fixed(self.fresh());
        let from = self.script.packets[anchor].from.other();
        let packet = TimedPacket::new(self.now, from, TimelinePacket::Reply, id);
        TimedPacket { destination: Goal::SourceOfArrived(anchor), ..packet }
    }

    /// Returns the reply to a request, sent now, with the id and to the address that the request arrived with.
    pub(in crate::middlebox::datasheet) fn reply(&mut self, to: usize) -> TimedPacket {
        let request = &self.script.packets[to];
        let packet = TimedPacket::new(self.now, request.from.other(), TimelinePacket::Reply, EchoId::OfArrived(to));
        TimedPacket { seq: request.seq, code: request.code, destination: Goal::SourceOfArrived(to), ..packet }
    }

    /// Returns a copy of a packet, sent now.
    pub(in crate::middlebox::datasheet) fn again(&self, packet: usize) -> TimedPacket {
        TimedPacket { at: self.now, ..self.script.packets[packet].clone() }
    }

    /// Repeats the subject of `first`, so that there are `times` in all: loss must not look like a stop. If the box
    /// ignores ids, a second request would refresh the state that is measured.
    pub(in crate::middlebox::datasheet) fn repeated(&mut self, first: &TrialSubject, times: u32) -> Vec<TrialSubject> {
        let mut subjects = vec![first.clone()];
        for _ in 1..times {
            self.pace();
            let again = self.again(first.subject);
            subjects.push(TrialSubject { subject: self.send(again), ..first.clone() });
        }
        subjects
    }

    /// Adds a packet to the timeline and returns its number.
    pub(in crate::middlebox::datasheet) fn send(&mut self, packet: TimedPacket) -> usize {
        self.script.packets.push(packet);
        self.script.packets.len() - 1
    }

    /// Waits until what was sent has arrived.
    pub(in crate::middlebox::datasheet) fn settle(&mut self) {
        self.now += self.script.settle;
    }

    /// Moves on to `time` after the trial's start, or stays at the present time if that is later.
    pub(in crate::middlebox::datasheet) fn at(&mut self, time: Duration) {
        self.now = self.now.max(self.start + time);
    }

    /// Waits until the script's rate allows another packet.
    pub(in crate::middlebox::datasheet) fn pace(&mut self) {
        self.now += self.script.gap;
    }

    /// Waits for `time`.
    pub(in crate::middlebox::datasheet) fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Returns the time since the script's start.
    pub(in crate::middlebox::datasheet) fn now(&self) -> Duration {
        self.now
    }

    /// Sends a request from the near end and waits until it has arrived.
    pub(in crate::middlebox::datasheet) fn arrived_request(&mut self) -> usize {
        let request = self.request(Endpoint::Near);
        let request = self.send(request);
        self.settle();
        request
    }
}
