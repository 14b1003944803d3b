//! One trial in the making: packets by a time of its own.

use std::time::Duration;

use super::{Asked, PlanBuilder};
use crate::middlebox::timeline::{EchoId, Endpoint, Goal, TimedPacket, TimelinePacket};

/// One trial in the making, with a time of its own.
#[derive(Debug)]
pub(in crate::middlebox::datasheet) struct Draft<'s, 'i> {
    pub(super) script: &'s mut PlanBuilder<'i>,
    pub(super) start: Duration,
    pub(super) now: Duration,
}

impl Draft<'_, '_> {
    /// An id that nobody had.
    pub(in crate::middlebox::datasheet) fn fresh(&mut self) -> u16 {
        self.script.ids.fresh()
    }

    /// A request with a fresh id, now.
    pub(in crate::middlebox::datasheet) fn request(&mut self, from: Endpoint) -> TimedPacket {
        let id = EchoId::Fixed(self.fresh());
        TimedPacket::new(self.now, from, TimelinePacket::Request, id)
    }

    /// A reply with a fresh id, now, to the address that `anchor` came from.
    pub(in crate::middlebox::datasheet) fn stray(&mut self, anchor: usize) -> TimedPacket {
        let id = EchoId::Fixed(self.fresh());
        let from = self.script.shots[anchor].from.other();
        let shot = TimedPacket::new(self.now, from, TimelinePacket::Reply, id);
        TimedPacket { destination: Goal::SourceOfArrived(anchor), ..shot }
    }

    /// The reply to a request, now, with the id and to the address that it arrived with.
    pub(in crate::middlebox::datasheet) fn reply(&mut self, to: usize) -> TimedPacket {
        let request = &self.script.shots[to];
        let shot = TimedPacket::new(self.now, request.from.other(), TimelinePacket::Reply, EchoId::OfArrived(to));
        TimedPacket { seq: request.seq, code: request.code, destination: Goal::SourceOfArrived(to), ..shot }
    }

    /// The same packet once more, now.
    pub(in crate::middlebox::datasheet) fn again(&self, shot: usize) -> TimedPacket {
        TimedPacket { at: self.now, ..self.script.shots[shot].clone() }
    }

    /// What `first` asks, and its subject `times` times in all: loss must not look like silence, and where ids are not
    /// looked at, more than one request would refresh what is measured.
    pub(in crate::middlebox::datasheet) fn repeated(&mut self, first: &Asked, times: u32) -> Vec<Asked> {
        let mut asked = vec![first.clone()];
        for _ in 1..times {
            self.pace();
            let again = self.again(first.subject);
            asked.push(Asked { subject: self.shoot(again), ..first.clone() });
        }
        asked
    }

    /// Puts a packet into the timeline; its number.
    pub(in crate::middlebox::datasheet) fn shoot(&mut self, shot: TimedPacket) -> usize {
        self.script.shots.push(shot);
        self.script.shots.len() - 1
    }

    /// Lets what was sent arrive.
    pub(in crate::middlebox::datasheet) fn settle(&mut self) {
        self.now += self.script.settle;
    }

    /// Goes on `time` after the trial's start, or now where that is later.
    pub(in crate::middlebox::datasheet) fn at(&mut self, time: Duration) {
        self.now = self.now.max(self.start + time);
    }

    /// Goes on as soon as the script's pace allows another packet.
    pub(in crate::middlebox::datasheet) fn pace(&mut self) {
        self.now += self.script.gap;
    }

    /// Goes on after `time`.
    pub(in crate::middlebox::datasheet) fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Time since the script's start.
    pub(in crate::middlebox::datasheet) fn now(&self) -> Duration {
        self.now
    }

    /// Sends a request of the near end and lets it arrive.
    pub(in crate::middlebox::datasheet) fn asked(&mut self) -> usize {
        let request = self.request(Endpoint::Near);
        let request = self.shoot(request);
        self.settle();
        request
    }
}
