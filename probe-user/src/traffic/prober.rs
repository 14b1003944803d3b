//! Sends a run of marked probes and reads what comes back: replies, and ICMP errors that quote a probe.

mod error;
mod filter;
pub mod id;
pub(in crate::traffic) mod incoming;
mod mark;
mod reader;
pub mod walk;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use probe_ebpf::Echo;

pub use error::ProberError;
pub use mark::{payload, random};

use self::{
    incoming::{IncomingMessage, QuotedMessage},
    reader::Reader,
};
use super::{
    cause::Refused,
    sender::{Sender, SenderError, Settings, SocketType},
};
use crate::{
    clock::monotonic_ns,
    model::trace::{IcmpError, Received, SenderTrace, SentProbe},
    stop::{LOOK, StopSignal},
};

/// The parameters of a run of probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// The target, and every field of the packets; [`Settings::id`] is not used.
    pub settings: Settings,
    /// Echo id of all probes.
    pub id: u16,
    /// Sequence number of the first probe; each next probe has the next number, and 0 follows 65535.
    pub first_seq: u16,
    /// How many probes, at most [`probe_ebpf::journey::MAX_PROBES`].
    pub count: u16,
    /// Time between two probes.
    pub interval: Duration,
    /// Payload bytes, at least [`probe_ebpf::journey::MARK_BYTES`].
    pub size: u16,
    /// The number that distinguishes this run from every other.
    pub nonce: u64,
    /// How long to wait for replies after the last probe.
    pub wait: Duration,
}

impl ProbePlan {
    /// Returns the default plan: ten requests, 50 ms apart, with 56 bytes of payload and one second for the last reply.
    pub fn new(target: SocketAddr, id: u16, nonce: u64) -> Self {
        Self {
            settings: Settings::new(Echo::Request, target),
            id,
            first_seq: 1,
            count: 10,
            interval: Duration::from_millis(50),
            size: 56,
            nonce,
            wait: Duration::from_secs(1),
        }
    }

    /// Returns the sequence number of a probe.
    fn seq(&self, probe: u16) -> u16 {
        self.first_seq.wrapping_add(probe)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// The fate of every probe is known.
    Known,
    /// The time for replies ran out.
    TimedOut,
    /// It was asked to stop.
    Stopped,
}

/// How many times a send waits for room in a full send buffer before its probe counts as refused with `EAGAIN`.
const PATIENCE: u32 = 4;

/// The least time between two calls of `witnessed`.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// Sends the probes of one plan. It lives in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Prober {
    plan: ProbePlan,
    /// The sender; the errno if the kernel refuses the source address, and so every probe.
    sender: Result<Sender, Errno>,
    reader: Reader,
    sending: SenderTrace,
}

impl Prober {
    /// Opens its sockets; replies are read from here on.
    ///
    /// # Errors
    /// If this thread may not have raw sockets, or the settings do not fit this host. A source address that is not this
    /// host's is no error: it is why every probe stops.
    pub fn open(plan: ProbePlan) -> Result<Self, ProberError> {
        mark::check(&plan)?;
        let reader = Reader::open(&plan.settings, plan.nonce)?;
        let sender = match Sender::open(&plan.settings) {
            Ok(sender) if sender.way() == SocketType::Raw => Ok(sender),
            Ok(_) => return Err(ProberError::NotPrivileged),
            // The answer of bind(2): a send call with that source would get the same.
            Err(SenderError::ForeignSource { .. }) => Err(Errno::EADDRNOTAVAIL),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { plan, sender, reader, sending: SenderTrace::default() })
    }

    /// Returns what was sent and what came back so far.
    pub fn sending(&self) -> &SenderTrace {
        &self.sending
    }

    /// Returns its plan.
    pub fn plan(&self) -> &ProbePlan {
        &self.plan
    }

    /// Closes its sockets; returns what all its packets have in common, and their id.
    pub fn into_settings(self) -> (Settings, u16) {
        (self.plan.settings, self.plan.id)
    }

    /// Sends all probes and reads what comes back, until the fate of every probe is known, the time runs out, or `stop` is
    /// requested. Once all are sent, `witnessed` is asked every few milliseconds whether others know the fates.
    pub fn run(&mut self, stop: &StopSignal, mut witnessed: impl FnMut(&SenderTrace) -> bool) -> RunEnd {
        let mut due = Instant::now();
        let mut ask_at = due;
        let mut end = None;
        loop {
            if stop.asked() {
                return self.ended(RunEnd::Stopped);
            }
            let now = Instant::now();
            if self.next().is_some() && now >= due {
                self.send_next();
                due = (due + self.plan.interval).max(now);
            }
            self.read();
            if self.next().is_none() {
                let end = *end.get_or_insert_with(|| Instant::now() + self.plan.wait);
                if self.all_known() {
                    return self.ended(RunEnd::Known);
                }
                if now >= ask_at {
                    if witnessed(&self.sending) {
                        return self.ended(RunEnd::Known);
                    }
                    // A call that takes long is made less often: reading replies goes first.
                    ask_at = Instant::now() + ASK_EVERY.max(now.elapsed() * 2);
                }
                if now >= end {
                    return self.ended(RunEnd::TimedOut);
                }
            }
            let next = if self.next().is_some() { due } else { ask_at.min(end.unwrap_or(ask_at)) };
            self.reader.wait(next.saturating_duration_since(Instant::now()).min(LOOK));
        }
    }

    /// Reads what arrived at the very end.
    fn ended(&mut self, how: RunEnd) -> RunEnd {
        self.read();
        how
    }

    /// Returns the number of the next probe.
    fn next(&self) -> Option<u16> {
        let next = u16::try_from(self.sending.probes.len()).ok()?;
        (next < self.plan.count).then_some(next)
    }

    fn send_next(&mut self) {
        let Some(probe) = self.next() else { return };
        let bytes = payload(probe, self.plan.nonce, self.plan.size.into());
        let seq = self.plan.seq(probe);
        let sent_ns = monotonic_ns();
        let result = match &mut self.sender {
            Ok(sender) => patiently(|| sender.send(self.plan.id, seq, &bytes)),
            Err(errno) => Err(*errno),
        };
        let errno = result.err().map(|errno| format!("{errno:?}"));
        self.sending.probes.push(SentProbe { probe, id: self.plan.id, seq, sent_ns, errno });
    }

    /// Reads everything that has arrived.
    fn read(&mut self) {
        while let Some(message) = self.reader.next() {
            self.take(&message);
        }
    }

    fn take(&mut self, message: &reader::Arrived) {
        match message.what {
            IncomingMessage::Reply { probe, id } if probe < self.plan.count => {
                let new = Received { time_ns: message.time_ns, from: message.from, id, ttl: message.ttl, times: 0 };
                self.sending.received.entry(probe).or_insert(new).times += 1;
            }
            IncomingMessage::Error { icmp_type, code, quote } => {
                let Some(probe) = self.quoted_probe(&quote) else { return };
                self.sending.errors.push(IcmpError { probe, from: message.from, icmp_type, code });
            }
            IncomingMessage::Reply { .. } => {}
        }
    }

    /// Returns which probe an error quotes: by its mark, or by id and sequence number if the quote is too short for one.
    fn quoted_probe(&self, quote: &QuotedMessage) -> Option<u16> {
        if quote.icmp_type != self.plan.settings.kind().icmp_type() {
            return None;
        }
        match quote.mark {
            Some((probe, nonce)) => (nonce == self.plan.nonce && probe < self.plan.count).then_some(probe),
            None => {
                let probe = quote.seq.wrapping_sub(self.plan.first_seq);
                (!quote.whole && quote.id == self.plan.id && probe < self.plan.count).then_some(probe)
            }
        }
    }

    /// Reports whether replies, errnos and final ICMP errors account for every probe.
    fn all_known(&self) -> bool {
        self.sending.probes.iter().all(|sent| fate_known(&self.sending, sent))
    }
}

/// Retries a few times while the send buffer is full.
fn patiently(mut send: impl FnMut() -> Result<(), Refused>) -> Result<(), Errno> {
    let mut result = send();
    for _ in 1..PATIENCE {
        if !matches!(result, Err(Refused { errno: Errno::EAGAIN, .. })) {
            break;
        }
        result = send();
    }
    result.map_err(|refused| refused.errno)
}

/// Reports whether the sending end itself knows the fate of a probe: it was refused, it was answered, or an ICMP error says
/// that it was dropped.
pub fn fate_known(sending: &SenderTrace, sent: &SentProbe) -> bool {
    sent.errno.is_some()
        || sending.received.contains_key(&sent.probe)
        || sending.errors.iter().any(|error| error.probe == sent.probe && error.ends_packet())
}

#[cfg(test)]
mod tests;
