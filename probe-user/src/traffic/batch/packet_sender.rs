//! Sends batches on a thread of its own, so that its owner can read and answer meanwhile.

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

use super::{BatchProgress, PacketSpec, SentPacket, message, socket::RawSocket};
use crate::{
    clock::monotonic_ns,
    traffic::{SenderError, target::family_of},
};

/// The least time between two packets of a sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MinimumGap(pub Duration);

/// How long the thread sleeps if nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// Sends packets at their times. Dropping it discards those that are not due yet.
#[derive(Debug)]
pub struct PacketSender {
    orders: Sender<Order>,
    progress: Arc<Mutex<BatchProgress>>,
}

/// A batch, and its start time.
#[derive(Debug)]
struct Order {
    start: Instant,
    packets: Vec<PacketSpec>,
}

impl PacketSender {
    /// Opens a sender in the network namespace of the calling thread; link-local destinations are on the link of
    /// `interface`.
    ///
    /// # Errors
    /// If this thread may not have raw sockets.
    pub fn open(interface: Option<&str>, pace: MinimumGap) -> Result<Self, SenderError> {
        let mut sockets = BTreeMap::from([(Family::V4, RawSocket::open(Family::V4, interface)?)]);
        match RawSocket::open(Family::V6, interface) {
            Ok(socket) => drop(sockets.insert(Family::V6, socket)),
            // A kernel without IPv6 refuses the IPv6 packets one by one.
            Err(error) => tracing::debug!("no IPv6 packets: {error}"),
        }
        let (orders, received) = mpsc::channel();
        let progress = Arc::new(Mutex::new(BatchProgress::default()));
        let work = Work {
            sockets,
            pace,
            progress: Arc::clone(&progress),
            due: BinaryHeap::new(),
            packets: BTreeMap::new(),
            next: 0,
        };
        let begun = thread::Builder::new().name("probe-sender".into()).spawn(move || work.run(&received));
        begun.map_err(|source| SenderError::Setup { what: "start a thread", source })?;
        Ok(Self { orders, progress })
    }

    /// Sends these packets at their times from now on, beside earlier batches. Packets that are due at the same time leave
    /// in their order here. Several batches may be under way.
    pub fn send(&self, packets: Vec<PacketSpec>) {
        let count = u32::try_from(packets.len()).unwrap_or(u32::MAX);
        lock(&self.progress).waiting += count;
        // The thread lives as long as this sender.
        let _ = self.orders.send(Order { start: Instant::now(), packets });
    }

    /// Returns the packets sent since the last call, and how many are not due yet.
    pub fn progress(&self) -> BatchProgress {
        let mut progress = lock(&self.progress);
        BatchProgress {
            packets: std::mem::take(&mut progress.packets),
            waiting: progress.waiting,
            now_ns: monotonic_ns(),
        }
    }
}

fn lock(progress: &Mutex<BatchProgress>) -> std::sync::MutexGuard<'_, BatchProgress> {
    // A panicked holder leaves it valid: each change is one step.
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of the thread.
struct Work {
    sockets: BTreeMap<Family, RawSocket>,
    pace: MinimumGap,
    progress: Arc<Mutex<BatchProgress>>,
    /// When each waiting packet is due, soonest first; its position breaks ties.
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    /// The waiting packets by position.
    packets: BTreeMap<u64, PacketSpec>,
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
                self.send_next();
                free = Instant::now() + self.pace.0;
                // Batches are accepted between two packets too, so that a long one does not delay a later one.
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
        for packet in order.packets {
            let due = order.start + Duration::from_millis(packet.after_ms.into());
            self.due.push(Reverse((due, self.next)));
            self.packets.insert(self.next, packet);
            self.next += 1;
        }
    }

    /// Sends the packet that is due first.
    fn send_next(&mut self) {
        let Some(Reverse((due, place))) = self.due.pop() else { return };
        let Some(packet) = self.packets.remove(&place) else { return };
        let late = Instant::now().saturating_duration_since(due);
        let sent_ns = monotonic_ns();
        let errno = self.send(&packet).err().map(|errno| format!("{errno:?}"));
        let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        let mut progress = lock(&self.progress);
        progress.waiting = progress.waiting.saturating_sub(1);
        progress.packets.push(SentPacket { number: packet.number, sent_ns, late_us, errno });
    }

    fn send(&self, packet: &PacketSpec) -> Result<(), Errno> {
        let socket = self.sockets.get(&family_of(packet.destination)).ok_or(Errno::EAFNOSUPPORT)?;
        let message = message::bytes(packet).ok_or(Errno::EAFNOSUPPORT)?;
        socket.send(packet, &message)
    }
}
