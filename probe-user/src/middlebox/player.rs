//! Plays a timeline at two ends: this host sends its shots, the agent at the far end its own, and both tell what came.
//!
//! Both ends are watched at every hop meanwhile, so that each packet that does not arrive can be accounted for.

mod clock;
mod landings;
mod schedule;

use std::{
    thread,
    time::{Duration, Instant},
};

use self::{clock::FarClock, landings::Landings, schedule::Schedule};
use crate::{
    clock::{monotonic_ns, nanoseconds},
    error::Failure,
    middlebox::timeline::{EndAddresses, Endpoint, PlayedTimeline, Timeline},
    model::{
        attach::Attach,
        request::{HostRole, RequestHandling, WatchRequest},
        trace::{HostTrace, Taken},
    },
    peer::{Peer, command::Finishing},
    stop::StopSignal,
    traffic::{
        prober::random,
        volley::{Fired, MinimumGap, PacketSender},
    },
    watch::{Factory, Watching},
};

/// How often arrivals are asked for while packets are under way.
const BUSY_LOOK: Duration = Duration::from_millis(10);

/// How often otherwise: often enough for a far end that wants to know that somebody is there.
const IDLE_LOOK: Duration = Duration::from_millis(200);

/// How long before and after a shot packets count as under way.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// The least time between two packets of this end.
const PACE: MinimumGap = MinimumGap(Duration::from_millis(1));

/// Time between the common start's announcement and the first shot.
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
    /// Ends a run before its time.
    pub stop: StopSignal,
}

/// Starts to watch a NIC between the two ends, of a host that forwards their packets. It is given what the near end is asked
/// for, and puts its own interface in.
pub type Observer<'a> = dyn Fn(&WatchRequest) -> Result<Box<dyn Watching>, Failure> + 'a;

/// A timeline that was played.
#[derive(Clone, Debug)]
pub struct Played {
    /// What became of each shot.
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
    /// Has the far end watch once, for its addresses and for what is wrong with it before anything is sent. Says how
    /// long it takes to answer a question.
    ///
    /// # Errors
    /// Why one of the ends can't watch.
    pub fn meet(&mut self) -> Result<Duration, Failure> {
        let nonce = random();
        let ready = self.peer.watch(self.request(Endpoint::Far, nonce, 0))?;
        if !ready.addresses.is_empty() {
            self.ends.far = ready.addresses;
        }
        let before = Instant::now();
        self.peer.fired()?;
        let rtt = before.elapsed();
        let asked = self.peer.finish()?;
        self.peer.finished(asked)?;
        Ok(rtt)
    }

    /// Plays `timeline`; `told` is called often, with the time since its start.
    ///
    /// # Errors
    /// Where one of the ends can't watch, or the far end goes.
    pub fn play(&mut self, timeline: &Timeline, told: &mut dyn FnMut(Duration)) -> Result<Played, Failure> {
        self.play_past(timeline, &[], told)
    }

    /// Plays `timeline` as [`Self::play`] does, watched on the way by `observers`, too.
    ///
    /// # Errors
    /// As [`Self::play`], or where an observer can't watch.
    pub fn play_past(
        &mut self,
        timeline: &Timeline,
        observers: &[&Observer<'_>],
        told: &mut dyn FnMut(Duration),
    ) -> Result<Played, Failure> {
        if let Some(fault) = timeline.fault() {
            return Err(Failure::new(format!("this timeline can't be played: {fault}"), "report this as a bug"));
        }
        let nonce = random();
        let shots = u16::try_from(timeline.shots.len()).unwrap_or(u16::MAX);
        let near = (self.factory)(&self.request(Endpoint::Near, nonce, shots))?;
        self.peer.watch(self.request(Endpoint::Far, nonce, shots))?;
        let passing = WatchRequest {
            requests: RequestHandling::Pass,
            interface: None,
            ..self.request(Endpoint::Near, nonce, shots)
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
            landings: Landings::new(timeline),
            clock: FarClock::default(),
        };
        let whole = playing.run(&mut self.peer, &self.stop, told)?;
        let asked = self.peer.finish()?;
        playing.end(&mut self.peer, asked, whole)
    }

    fn request(&self, side: Endpoint, nonce: u64, shots: u16) -> WatchRequest {
        let (own, other) = (self.ends.of(side), self.ends.of(side.other()));
        WatchRequest {
            nonce,
            id: 0,
            probes: shots,
            local: own[0],
            remote: other[0],
            interface: (side == Endpoint::Near).then(|| self.interface.clone()),
            role: if side == Endpoint::Near { HostRole::Sender } else { HostRole::Receiver },
            attach: if side == Endpoint::Near { self.attach } else { Attach::default() },
            trace_rules: false,
            everywhere: false,
            requests: RequestHandling::AllAbsorbed,
            further: other.iter().skip(1).take(1).copied().collect(),
        }
    }
}

/// Whether there was anything to order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ordered {
    Nothing,
    Shots,
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
    landings: Landings,
    clock: FarClock,
}

impl Playing<'_> {
    fn run(
        &mut self,
        peer: &mut Peer,
        stop: &StopSignal,
        told: &mut dyn FnMut(Duration),
    ) -> Result<Completion, Failure> {
        let length = self.timeline.length();
        let mut until = length;
        loop {
            // First what has come: after a stall of this host, what a shot builds on may long be there.
            self.look(peer)?;
            let now = Instant::now().saturating_duration_since(self.start);
            told(now.min(length));
            if self.order(peer, now)? == Ordered::Shots {
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

    /// Orders what is due soon at either end.
    fn order(&mut self, peer: &mut Peer, now: Duration) -> Result<Ordered, Failure> {
        let due = self.schedule.due(now, &self.landings);
        let ordered = if due.near.is_empty() && due.far.is_empty() { Ordered::Nothing } else { Ordered::Shots };
        if !due.near.is_empty() {
            self.shooter.fire(due.near);
        }
        if !due.far.is_empty() {
            peer.volley(due.far)?;
        }
        Ok(ordered)
    }

    /// Takes in what was sent and what came, at both ends.
    fn look(&mut self, peer: &mut Peer) -> Result<(), Failure> {
        let sent = self.shooter.fired();
        let came = self.near.absorbed()?;
        self.take(Endpoint::Near, sent, came);
        let before = monotonic_ns();
        let sent = peer.fired()?;
        self.clock.learn(before, sent.now_ns, monotonic_ns());
        let came = peer.absorbed()?;
        self.take(Endpoint::Far, sent, came);
        Ok(())
    }

    fn take(&mut self, side: Endpoint, sent: Fired, came: Taken) {
        self.landings.sent(side, sent.shots);
        self.landings.came(side, came);
    }

    fn rest(&self, now: Duration) -> Duration {
        let near = |shot: &crate::middlebox::timeline::TimedPacket| shot.at.abs_diff(now) < UNDER_WAY;
        if self.timeline.shots.iter().any(near) { BUSY_LOOK } else { IDLE_LOOK }
    }

    fn end(mut self, peer: &mut Peer, asked: Finishing, whole: Completion) -> Result<Played, Failure> {
        let sent = self.shooter.fired();
        let came = self.near.absorbed()?;
        self.take(Endpoint::Near, sent, came);
        let near = self.near.finish()?;
        let far = peer.finished(asked)?;
        let between = self.between.iter_mut().map(|observer| observer.finish()).collect::<Result<_, _>>()?;
        let times = landings::SharedClock { start_ns: self.start_ns, clock: &self.clock };
        let run = self.landings.told(self.timeline, |shot| self.schedule.unsent(shot), [&near, &far], &times);
        Ok(Played { run, near, far, between, whole })
    }
}
