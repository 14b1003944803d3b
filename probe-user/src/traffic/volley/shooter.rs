//! Sends volleys on a thread of its own, so that its owner can look and answer meanwhile.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use probe_ebpf::Family;

use super::{Fired, FiredShot, PacketSpec, message, socket::RawSocket};
use crate::{
    clock::monotonic_ns,
    traffic::{SenderError, target::family_of},
};

/// The least time between two packets of a shooter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinimumGap(pub Duration);

/// How long a shooter sleeps where nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// Sends shots at their times. Dropping it forgets those that are not due yet.
#[derive(Debug)]
pub struct PacketSender {
    orders: Sender<Order>,
    told: Arc<Mutex<Fired>>,
}

/// A volley, and when its time began.
#[derive(Debug)]
struct Order {
    start: Instant,
    shots: Vec<PacketSpec>,
}

impl PacketSender {
    /// A shooter in the network namespace of the calling thread; link-local destinations are on the link of `interface`.
    ///
    /// # Errors
    /// Where this thread may not have raw sockets.
    pub fn open(interface: Option<&str>, pace: MinimumGap) -> Result<Self, SenderError> {
        let mut sockets = BTreeMap::from([(Family::V4, RawSocket::open(Family::V4, interface)?)]);
        match RawSocket::open(Family::V6, interface) {
            Ok(socket) => drop(sockets.insert(Family::V6, socket)),
            // A kernel without IPv6: its shots are refused one by one.
            Err(error) => tracing::debug!("no IPv6 shots: {error}"),
        }
        let (orders, received) = mpsc::channel();
        let told = Arc::new(Mutex::new(Fired::default()));
        let work =
            Work { sockets, pace, told: Arc::clone(&told), due: BinaryHeap::new(), shots: BTreeMap::new(), next: 0 };
        let begun = thread::Builder::new().name("probe-shooter".into()).spawn(move || work.run(&received));
        begun.map_err(|source| SenderError::Setup { what: "start a thread", source })?;
        Ok(Self { orders, told })
    }

    /// Sends these at their times from now on, beside what was ordered before. Shots that are due at the same time leave
    /// in their order here. More than one volley may be under way.
    pub fn fire(&self, shots: Vec<PacketSpec>) {
        let count = u32::try_from(shots.len()).unwrap_or(u32::MAX);
        lock(&self.told).waiting += count;
        // The thread lives as long as this sender.
        let _ = self.orders.send(Order { start: Instant::now(), shots });
    }

    /// What became of shots since the last call, and how many wait for their time.
    pub fn fired(&self) -> Fired {
        let mut told = lock(&self.told);
        Fired { shots: std::mem::take(&mut told.shots), waiting: told.waiting, now_ns: monotonic_ns() }
    }
}

fn lock(told: &Mutex<Fired>) -> std::sync::MutexGuard<'_, Fired> {
    // What a panicked holder leaves is whole: each change is one step.
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread has.
struct Work {
    sockets: BTreeMap<Family, RawSocket>,
    pace: MinimumGap,
    told: Arc<Mutex<Fired>>,
    /// When each waiting shot is due, soonest first; its place breaks ties.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    /// The waiting shots by place.
    shots: BTreeMap<u64, PacketSpec>,
    next: u64,
}

impl Work {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut free = Instant::now();
        loop {
            let now = Instant::now();
            let wait =
                self.due.peek().map_or(IDLE, |Reverse((due, _))| (*due).max(free).saturating_duration_since(now));
            if wait.is_zero() {
                self.shoot();
                free = Instant::now() + self.pace.0;
                // Orders are taken between two shots too, so that a long volley does not hold a later one up.
                match orders.try_recv() {
                    Ok(order) => self.take(order),
                    Err(TryRecvError::Empty) => {}
                    Err(TryRecvError::Disconnected) => return,
                }
                continue;
            }
            match orders.recv_timeout(wait) {
                Ok(order) => self.take(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, order: Order) {
        for shot in order.shots {
            let due = order.start + Duration::from_millis(shot.after_ms.into());
            self.due.push(Reverse((due, self.next)));
            self.shots.insert(self.next, shot);
            self.next += 1;
        }
    }

    /// Sends the shot that is due first.
    fn shoot(&mut self) {
        let Some(Reverse((due, place))) = self.due.pop() else { return };
        let Some(shot) = self.shots.remove(&place) else { return };
        let late = Instant::now().saturating_duration_since(due);
        let sent_ns = monotonic_ns();
        let errno = self.send(&shot).err().map(|errno| format!("{errno:?}"));
        let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        let mut told = lock(&self.told);
        told.waiting = told.waiting.saturating_sub(1);
        told.shots.push(FiredShot { number: shot.number, sent_ns, late_us, errno });
    }

    fn send(&self, shot: &PacketSpec) -> Result<(), Errno> {
        let socket = self.sockets.get(&family_of(shot.destination)).ok_or(Errno::EAFNOSUPPORT)?;
        let message = message::bytes(shot).ok_or(Errno::EAFNOSUPPORT)?;
        socket.fire(shot, &message)
    }
}
