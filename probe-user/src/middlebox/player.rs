//! Plays a timeline at two ends: this host sends its packets, the agent at the far end sends its own, and both report
//! what came.
//!
//! Both ends are watched at every hop meanwhile, so that each packet that does not arrive can be accounted for.

mod deliveries;
mod schedule;

use std::{
    thread,
    time::{Duration, Instant},
};

use self::{deliveries::Deliveries, schedule::Schedule};
use crate::{
    clock::monotonic_ns,
    error::Failure,
    middlebox::timeline::{EndAddresses, Endpoint, PlayedTimeline, Timeline},
    model::{
        attach::Attach,
        duration::nanoseconds,
        request::{HostRole, RequestHandling, WatchRequest},
        trace::{HostTrace, Taken},
    },
    peer::{Peer, clock::FarClock, command::Finishing},
    stop::StopSignal,
    traffic::{
        batch::{BatchProgress, MinimumGap, PacketSender},
        prober::random,
    },
    watch::{Factory, Watching},
};

/// How often arrivals are fetched while packets are in flight.
const BUSY_LOOK: Duration = Duration::from_millis(10);

/// How often otherwise: often enough to keep the far end from giving up on this one.
const IDLE_LOOK: Duration = Duration::from_millis(200);

/// How long before and after a packet it counts as in flight.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// The minimum time between two packets of this end.
const PACE: MinimumGap = MinimumGap(Duration::from_millis(1));

/// Time between the common start's announcement and the first packet.
const LEAD: Duration = Duration::from_millis(20);

/// Two ends that can play timelines, one after the other.
pub struct Player {
    /// Watches this host.
    pub factory: Factory,
    /// The far end, after its hello.
    pub peer: Peer,
    /// The interface of this host that carries the route to the far end.
    pub interface: String,
    /// How to attach here.
    pub attach: Attach,
    /// The ends' addresses. Second ones of the far end are learned when it watches.
    pub ends: EndAddresses,
    /// Ends a run early.
    pub stop: StopSignal,
}

/// Starts to watch a NIC between the two ends, of a host that forwards their packets. It gets the near end's request,
/// and fills in its own interface.
pub type Observer<'a> = dyn Fn(&WatchRequest) -> Result<Box<dyn Watching>, Failure> + 'a;

/// A timeline that was played.
#[derive(Clone, Debug)]
pub struct Played {
    /// The outcome of each packet.
    pub run: PlayedTimeline,
    /// What this host saw.
    pub near: HostTrace,
    /// What the far end saw.
    pub far: HostTrace,
    /// What each observer saw, in their order.
    pub between: Vec<HostTrace>,
    /// Whether it was played to its end.
    pub whole: Completion,
}

/// Whether a timeline was played to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It was.
    Yes,
    /// A stop was asked for before.
    Stopped,
}

impl Player {
    /// Makes the far end watch once, to learn its addresses and any problem before a packet is sent. Returns how long it
    /// takes to answer.
    ///
    /// # Errors
    /// Why one of the ends cannot watch.
    pub fn meet(&mut self) -> Result<Duration, Failure> {
        let nonce = random();
        let ready = self.peer.watch(self.request(Endpoint::Far, nonce, 0))?;
        if !ready.addresses.is_empty() {
            self.ends.far = ready.addresses;
        }
        let before = Instant::now();
        self.peer.batch_progress()?;
        let rtt = before.elapsed();
        let asked = self.peer.finish()?;
        self.peer.finished(asked)?;
        Ok(rtt)
    }

    /// Plays `timeline`. Calls `progress` often, with the time since its start.
    ///
    /// # Errors
    /// One of the ends cannot watch, or the far end goes away.
    pub fn play(&mut self, timeline: &Timeline, progress: &mut dyn FnMut(Duration)) -> Result<Played, Failure> {
        self.play_past(timeline, &[], progress)
    }

    /// Plays `timeline` like [`Self::play`], and lets `observers` on the path watch too.
    ///
    /// # Errors
    /// As for [`Self::play`], or an observer cannot watch.
    pub fn play_past(
        &mut self,
        timeline: &Timeline,
        observers: &[&Observer<'_>],
        progress: &mut dyn FnMut(Duration),
    ) -> Result<Played, Failure> {
        if let Some(fault) = timeline.fault() {
            return Err(Failure::new(format!("this timeline cannot be played: {fault}"), "report this as a bug"));
        }
        let nonce = random();
        let packets = u16::try_from(timeline.packets.len()).unwrap_or(u16::MAX);
        let near = (self.factory)(&self.request(Endpoint::Near, nonce, packets))?;
        self.peer.watch(self.request(Endpoint::Far, nonce, packets))?;
        let passing = WatchRequest {
            requests: RequestHandling::Pass,
            interface: None,
            ..self.request(Endpoint::Near, nonce, packets)
        };
        let between = observers.iter().map(|start| start(&passing)).collect::<Result<_, _>>()?;
        let shooter = PacketSender::open(Some(&self.interface), PACE)?;
        let mut playing = Playing {
            timeline,
            near,
            between,
            shooter,
            start: Instant::now() + LEAD,
            start_ns: monotonic_ns() + nanoseconds(LEAD),
            schedule: Schedule::new(timeline, &self.ends, nonce),
            deliveries: Deliveries::new(timeline),
            clock: FarClock::default(),
        };
        let whole = playing.run(&mut self.peer, &self.stop, progress)?;
        let asked = self.peer.finish()?;
        playing.end(&mut self.peer, asked, whole)
    }

    fn request(&self, side: Endpoint, nonce: u64, packets: u16) -> WatchRequest {
        let (own, other) = (self.ends.of(side), self.ends.of(side.other()));
        WatchRequest {
            nonce,
            id: 0,
            probes: packets,
            local: own[0],
            remote: other[0],
            interface: (side == Endpoint::Near).then(|| self.interface.clone()),
            role: if side == Endpoint::Near { HostRole::Sender } else { HostRole::Receiver },
            attach: if side == Endpoint::Near { self.attach } else { Attach::default() },
            trace_rules: false,
            everywhere: false,
            requests: RequestHandling::AllAbsorbed,
            source_given: false,
            further: other.iter().skip(1).take(1).copied().collect(),
            tunnels: Vec::new(),
            numbered_from: None,
            sent_as: None,
            choosers: Default::default(),
        }
    }
}

/// Whether there was anything to order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ordered {
    Nothing,
    Packets,
}

/// A timeline that is being played.
struct Playing<'a> {
    timeline: &'a Timeline,
    near: Box<dyn Watching>,
    between: Vec<Box<dyn Watching>>,
    shooter: PacketSender,
    start: Instant,
    start_ns: u64,
    schedule: Schedule<'a>,
    deliveries: Deliveries,
    clock: FarClock,
}

impl Playing<'_> {
    fn run(
        &mut self,
        peer: &mut Peer,
        stop: &StopSignal,
        progress: &mut dyn FnMut(Duration),
    ) -> Result<Completion, Failure> {
        let length = self.timeline.length();
        let mut until = length;
        loop {
            // Arrivals first: after a stall of this host, the packet that another one builds on may have arrived long
            // ago.
            self.look(peer)?;
            let now = Instant::now().saturating_duration_since(self.start);
            progress(now.min(length));
            if self.order(peer, now)? == Ordered::Packets {
                // Sent late, it needs its time to arrive.
                until = until.max(now + self.timeline.linger);
            }
            if stop.asked() {
                return Ok(Completion::Stopped);
            }
            if now >= until {
                return Ok(Completion::Yes);
            }
            thread::sleep(self.rest(now));
        }
    }

    /// Orders both ends to send what is due soon.
    fn order(&mut self, peer: &mut Peer, now: Duration) -> Result<Ordered, Failure> {
        let due = self.schedule.due(now, &self.deliveries);
        let ordered = if due.near.is_empty() && due.far.is_empty() { Ordered::Nothing } else { Ordered::Packets };
        if !due.near.is_empty() {
            self.shooter.send(due.near);
        }
        if !due.far.is_empty() {
            peer.send_batch(due.far)?;
        }
        Ok(ordered)
    }

    /// Collects what was sent and what arrived at both ends.
    fn look(&mut self, peer: &mut Peer) -> Result<(), Failure> {
        let sent = self.shooter.progress();
        let came = self.near.absorbed()?;
        self.take(Endpoint::Near, sent, came);
        let before = monotonic_ns();
        let sent = peer.batch_progress()?;
        self.clock.learn(before, sent.now_ns, monotonic_ns());
        let came = peer.absorbed()?;
        self.take(Endpoint::Far, sent, came);
        Ok(())
    }

    fn take(&mut self, side: Endpoint, sent: BatchProgress, came: Taken) {
        self.deliveries.sent(side, sent.packets);
        self.deliveries.came(side, came);
    }

    fn rest(&self, now: Duration) -> Duration {
        let near = |packet: &crate::middlebox::timeline::TimedPacket| packet.at.abs_diff(now) < UNDER_WAY;
        if self.timeline.packets.iter().any(near) { BUSY_LOOK } else { IDLE_LOOK }
    }

    fn end(mut self, peer: &mut Peer, asked: Finishing, whole: Completion) -> Result<Played, Failure> {
        let sent = self.shooter.progress();
        let came = self.near.absorbed()?;
        self.take(Endpoint::Near, sent, came);
        let near = self.near.finish()?;
        let far = peer.finished(asked)?;
        let between = self.between.iter_mut().map(|observer| observer.finish()).collect::<Result<_, _>>()?;
        let times = deliveries::SharedClock { start_ns: self.start_ns, clock: &self.clock };
        let run = self.deliveries.into_run(self.timeline, |packet| self.schedule.unsent(packet), [&near, &far], &times);
        Ok(Played { run, near, far, between, whole })
    }
}
