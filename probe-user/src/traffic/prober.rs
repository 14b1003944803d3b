//! Sending a run of marked probes and reading what comes back: replies, and ICMP errors that quote a probe.

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

/// What a run of probes is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// Where to, and every field of the packets; [`Settings::id`] is not used.
    pub settings: Settings,
    /// Echo id of all probes.
    pub id: u16,
    /// Sequence number of the first probe; each further one is one higher, and 0 comes after 65535.
    pub first_seq: u16,
    /// How many probes, at most [`probe_ebpf::journey::MAX_PROBES`].
    pub count: u16,
    /// Time between two probes.
    pub interval: Duration,
    /// Payload bytes, at least [`probe_ebpf::journey::MARK_BYTES`].
    pub size: u16,
    /// What tells this run from every other.
    pub nonce: u64,
    /// How long to wait for answers after the last probe.
    pub wait: Duration,
}

impl ProbePlan {
    /// Ten requests, 50 ms apart, with 56 bytes of payload and one second for the last answer.
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

    /// The sequence number of a probe.
    fn seq(&self, probe: u16) -> u16 {
        self.first_seq.wrapping_add(probe)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// What became of every probe is known.
    Known,
    /// The time for answers was over.
    TimedOut,
    /// It was asked to stop.
    Stopped,
}

/// How often a full send buffer is waited for before a probe counts as refused with `EAGAIN`.
const PATIENCE: u32 = 4;

/// How often `witnessed` is asked at most.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// Sends the probes of one plan. It lives in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Prober {
    plan: ProbePlan,
    /// What sends; the errno, where the kernel refuses the source address, and so every probe.
    sender: Result<Sender, Errno>,
    reader: Reader,
    sending: SenderTrace,
}

impl Prober {
    /// Opens its sockets; replies are read from here on.
    ///
    /// # Errors
    /// Where this thread may not have raw sockets, or the settings do not fit this host. A source address that is not
    /// this host's is no error: it is why every probe stops.
    pub fn open(plan: ProbePlan) -> Result<Self, ProberError> {
        mark::check(&plan)?;
        let reader = Reader::open(&plan.settings, plan.nonce)?;
        let sender = match Sender::open(&plan.settings) {
            Ok(sender) if sender.way() == SocketType::Raw => Ok(sender),
            Ok(_) => return Err(ProberError::NotPrivileged),
            // What bind(2) answered; a send call with that source would be answered the same.
            Err(SenderError::ForeignSource { .. }) => Err(Errno::EADDRNOTAVAIL),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { plan, sender, reader, sending: SenderTrace::default() })
    }

    /// What was sent and what came back so far.
    pub fn sending(&self) -> &SenderTrace {
        &self.sending
    }

    /// What all its packets have in common, and their id; its sockets are closed.
    pub fn into_settings(self) -> (Settings, u16) {
        (self.plan.settings, self.plan.id)
    }

    /// Sends all probes and reads what comes back, until it is known of every probe what became of it, the time is over,
    /// or `stop` is asked for. Once all are sent, `witnessed` is asked every few milliseconds whether others know it.
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
                    // A question that takes long is asked less often: reading replies goes first.
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

    /// Takes what has arrived in the very end.
    fn ended(&mut self, how: RunEnd) -> RunEnd {
        self.read();
        how
    }

    /// The number of the next probe.
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

    /// Takes all that has arrived.
    fn read(&mut self) {
        while let Some(heard) = self.reader.next() {
            self.take(&heard);
        }
    }

    fn take(&mut self, heard: &reader::Arrived) {
        match heard.what {
            IncomingMessage::Reply { probe, id } if probe < self.plan.count => {
                let new = Received { time_ns: heard.time_ns, from: heard.from, id, ttl: heard.ttl, times: 0 };
                self.sending.received.entry(probe).or_insert(new).times += 1;
            }
            IncomingMessage::Error { icmp_type, code, quote } => {
                let Some(probe) = self.quoted_probe(&quote) else { return };
                self.sending.errors.push(IcmpError { probe, from: heard.from, icmp_type, code });
            }
            IncomingMessage::Reply { .. } => {}
        }
    }

    /// Which probe an error quotes: by its mark, or where the quote is too short for one by id and sequence number.
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

    /// Whether replies, errnos and final ICMP errors account for every probe.
    fn all_known(&self) -> bool {
        self.sending.probes.iter().all(|sent| fate_known(&self.sending, sent))
    }
}

/// Tries again where the send buffer is full, a few times.
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

/// Whether the sending end itself knows what became of a probe: it was refused, it was answered, or an ICMP error says
/// that it goes no further.
pub fn fate_known(sending: &SenderTrace, sent: &SentProbe) -> bool {
    sent.errno.is_some()
        || sending.received.contains_key(&sent.probe)
        || sending.errors.iter().any(|error| error.probe == sent.probe && error.ends_packet())
}

#[cfg(test)]
mod tests;
