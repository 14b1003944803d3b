//! A link through model boxes, with a clock of its own and loss by dice; and a whole characterization over it.

use std::{net::IpAddr, time::Duration};

use probe_user::middlebox::{
    datasheet::{Datasheet, Effort, Session},
    timeline::{
        Arrival, Delivery, EchoId, EndAddresses, Endpoint, ErrorQuote, Goal, Own, PlayedTimeline, SendTime,
        TimedPacket, Timeline, TimelinePacket,
    },
};

use super::boxes::{Kind, Packet, Through};

pub(crate) const NEAR: [u8; 4] = [10, 1, 0, 10];
pub(crate) const FAR: [u8; 4] = [10, 2, 0, 20];

/// How long a packet is under way.
const UNDER_WAY: Duration = Duration::from_millis(2);

/// Two ends with two addresses each.
pub(crate) fn ends() -> EndAddresses {
    let both = |[a, b, c, d]: [u8; 4]| vec![IpAddr::from([a, b, c, d]), IpAddr::from([a, b, c, d + 1])];
    EndAddresses { near: both(NEAR), far: both(FAR) }
}

/// Dice that fall the same way each time.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// From 0 to 1.
    pub(crate) fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut mixed = self.0;
        mixed ^= mixed >> 33;
        mixed = mixed.wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^= mixed >> 33;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The way between two ends.
pub(crate) struct Link {
    pub(crate) ends: EndAddresses,
    /// From the near end to the far one.
    pub(crate) boxes: Vec<Box<dyn Through>>,
    /// The chance that a packet is lost on either side of the boxes.
    pub(crate) loss: f64,
    pub(crate) dice: Dice,
    pub(crate) now: Duration,
    /// How many packets were sent.
    pub(crate) packets: usize,
    /// How many timelines were run.
    pub(crate) runs: usize,
}

impl Link {
    pub(crate) fn through(boxes: Vec<Box<dyn Through>>) -> Self {
        Self { ends: ends(), boxes, loss: 0.0, dice: Dice(1), now: Duration::ZERO, packets: 0, runs: 0 }
    }

    /// Runs a timeline: what it does to the boxes, and what its ends see.
    pub(crate) fn run(&mut self, timeline: &Timeline) -> PlayedTimeline {
        assert_eq!(timeline.fault(), None);
        let mut deliveries: Vec<Delivery> = Vec::new();
        for timed in &timeline.packets {
            let delivery = self.deliver(timed, &timeline.packets, &deliveries);
            deliveries.push(delivery);
        }
        self.now += timeline.length() + Duration::from_millis(300);
        self.packets += timeline.packets.len();
        self.runs += 1;
        PlayedTimeline { deliveries, clock_error: Duration::from_millis(1) }
    }

    fn deliver(&mut self, timed: &TimedPacket, all: &[TimedPacket], before: &[Delivery]) -> Delivery {
        // Senders are late now and then.
        let at = timed.at + Duration::from_micros((self.dice.roll() * 3000.0) as u64);
        let packet = match self.packet(timed, all, before, at) {
            Ok(packet) => packet,
            Err(why) => return Delivery { sent: SendTime::NotTried(why.to_owned()), ..Delivery::default() },
        };
        let arrived = self.carry(self.now + at, packet).map(|packet| Arrival {
            id: packet.id,
            source: packet.source,
            destination: packet.destination,
            seq: packet.seq,
            code: packet.code,
            ttl: timed.ttl - 1,
            size: packet.size,
            after: at + UNDER_WAY,
        });
        Delivery { sent: SendTime::At(at), left: Some(true), arrived: arrived.into_iter().collect() }
    }

    fn packet(
        &self,
        timed: &TimedPacket,
        all: &[TimedPacket],
        before: &[Delivery],
        at: Duration,
    ) -> Result<Packet, &'static str> {
        let came = |of: usize| {
            let arrival = before[of].arrived.first();
            arrival.filter(|arrival| arrival.after <= at).ok_or("what it builds on had not arrived")
        };
        let id = match timed.id {
            EchoId::Fixed(id) => id,
            EchoId::OfArrived(of) => came(of)?.id,
        };
        let own = |index| self.ends.of(timed.from).get(index).copied().ok_or("no second address");
        let other = |index| self.ends.of(timed.from.other()).get(index).copied().ok_or("no second address");
        let source = if timed.source == Own::First { own(0)? } else { own(1)? };
        let destination = match timed.destination {
            Goal::First => other(0)?,
            Goal::Second => other(1)?,
            Goal::SourceOfArrived(of) => came(of)?.source,
        };
        let (kind, seq) = match timed.message {
            TimelinePacket::Request => (Kind::Request, timed.seq),
            TimelinePacket::Reply => (Kind::Reply, timed.seq),
            TimelinePacket::Error(ErrorQuote::Packet(of)) => (Kind::Error, all[of].seq),
            TimelinePacket::Error(ErrorQuote::Never) => (Kind::Error, timed.seq),
        };
        let (from, code, size) = (timed.from, timed.code, timed.size);
        Ok(Packet { kind, from, id, seq, code, size, source, destination })
    }

    fn carry(&mut self, now: Duration, mut packet: Packet) -> Option<Packet> {
        let half = 1.0 - (1.0 - self.loss).sqrt();
        if self.dice.roll() < half {
            return None;
        }
        let mut order: Vec<&mut Box<dyn Through>> = self.boxes.iter_mut().collect();
        if packet.from == Endpoint::Far {
            order.reverse();
        }
        let passes = order.into_iter().all(|one| one.pass(now, &mut packet));
        (passes && self.dice.roll() >= half).then_some(packet)
    }

    /// Characterises what is on the way.
    pub(crate) fn characterise(&mut self, effort: Effort) -> Datasheet {
        let mut session = Session::new(self.ends.clone(), effort, 7);
        while let Some(timeline) = session.next_timeline() {
            let run = self.run(&timeline);
            session.record(&run);
        }
        session.datasheet()
    }
}
