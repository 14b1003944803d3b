//! Sends a run of marked probes and reads what comes back: replies, and ICMP errors that quote a probe.

mod error;
pub(in crate::traffic) mod filter;
mod first_look;
pub mod id;
pub(in crate::traffic) mod incoming;
mod mark;
mod past;
mod reader;
mod replies;
pub mod walk;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use nix::{errno::Errno, net::if_::if_nameindex};
use probe_ebpf::Echo;

pub use error::ProberError;
pub use first_look::{AheadProbe, Sighting};
pub use mark::{Pattern, payload, random};
pub use past::LinkRoute;

use self::{
    filter::ReplyChoice,
    incoming::{IncomingMessage, QuotedMessage},
    reader::Reader,
    replies::{Reply, ReplyReader},
};
use super::{
    cause::Refused,
    sender::{ProgramSocket, Sender, SenderError, Settings, SocketType},
};
use crate::{
    clock::monotonic_ns,
    model::trace::{IcmpError, Received, SenderTrace, SentProbe, SocketTrace, UnansweredAhead},
    peer::route::owner,
    stop::{LOOK, StopSignal},
};

/// The parameters of a run of probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    /// The target, and every field of the packets; [`Settings::id`] is not used.
    pub settings: Settings,
    /// Echo id of all probes.
    pub id: u16,
    /// Sequence number of the first probe; 0 follows 65535.
    pub first_seq: u16,
    /// By how much each next sequence number is higher; at least 1.
    pub seq_step: u16,
    /// How many probes, at most [`probe_ebpf::journey::MAX_PROBES`].
    pub count: u16,
    /// Time between two probes.
    pub interval: Duration,
    /// Payload bytes; at least [`probe_ebpf::journey::MARK_BYTES`], unless probes are known without a mark.
    pub size: u16,
    /// Whether a reply without the run's mark counts by its id and sequence number: no other ping here has this id.
    pub numbered: bool,
    /// What fills the payload after the mark; none: bytes that count up.
    pub pattern: Option<Pattern>,
    /// Whether the next probe leaves as soon as the fate of the last is known.
    pub adaptive: bool,
    /// How many probes leave at once at the start.
    pub preload: u16,
    /// When the run ends at the latest, counted from the first probe.
    pub deadline: Option<Duration>,
    /// How many replies and ICMP errors are enough to send no more.
    pub enough: Option<u16>,
    /// Whether no more is sent after the first ICMP error: `ping` does so with a deadline.
    pub until_error: bool,
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
            seq_step: 1,
            count: 10,
            interval: Duration::from_millis(50),
            size: 56,
            numbered: false,
            pattern: None,
            adaptive: false,
            preload: 1,
            deadline: None,
            enough: None,
            until_error: false,
            nonce,
            wait: Duration::from_secs(1),
        }
    }

    /// Returns the payload of a probe: without a mark where there is no room for one.
    fn bytes(&self, probe: u16) -> Vec<u8> {
        mark::bytes(probe, self.nonce, self.size.into(), self.pattern.as_ref())
    }

    /// Reports whether more is sent after what is known so far, as `ping` decides it.
    fn goes_on(&self, sending: &SenderTrace) -> bool {
        // What ping counts as an error: ICMP errors that end a request, and requests that are too long for this host.
        let heard = sending.errors.iter().filter(|error| error.ends_packet()).count();
        let too_long = sending.probes.iter().filter(|sent| sent.errno.as_deref() == Some("EMSGSIZE")).count();
        let errors = heard + too_long;
        let enough = self.enough.is_some_and(|enough| sending.received.len() + errors >= usize::from(enough));
        let failed = self.until_error && errors > 0;
        !enough && !failed
    }

    /// Returns the sequence number of a probe.
    fn seq(&self, probe: u16) -> u16 {
        self.first_seq.wrapping_add(probe.wrapping_mul(self.seq_step))
    }

    /// Returns the probe with a sequence number, if one has it.
    fn probe(&self, seq: u16) -> Option<u16> {
        let ahead = seq.wrapping_sub(self.first_seq);
        ahead.is_multiple_of(self.seq_step).then(|| ahead / self.seq_step)
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
    replies: ReplyReader,
    sending: SenderTrace,
    /// The probe that looked ahead.
    ahead: AheadProbe,
    /// When the first probe of the run leaves at the earliest, if one went ahead.
    not_before: Option<Instant>,
    /// What sends instead of the sender, which still receives the replies.
    past: Option<past::LinkSocket>,
    /// Replies without a mark that may be another program's with the same id: by probe, the first of each.
    doubtful: BTreeMap<u16, Received>,
}

impl Prober {
    /// Opens its sockets; replies are read from here on.
    ///
    /// # Errors
    /// If this thread may not have raw sockets, which read ICMP errors, or the settings do not fit this host. A source
    /// address that is not this host's is not an error: it is why every probe stops.
    pub fn open(plan: ProbePlan) -> Result<Self, ProberError> {
        mark::check(&plan)?;
        let reader = Reader::open(&plan.settings, plan.nonce, ReplyChoice::Left)?;
        let mut plan = plan;
        match &plan.settings.program {
            Some(_) => plan.settings.id = Some(plan.id),
            // Without a program's socket, every reply with the run's mark is read here, whatever became of its id.
            None => {
                plan.settings.program = Some(ProgramSocket { raw: true, broadcast: true, ..ProgramSocket::default() });
            }
        }
        let sender = match Sender::open(&plan.settings) {
            Ok(sender) => Ok(sender),
            // The errno of bind(2): a send call with that source would get the same one.
            Err(SenderError::ForeignSource { .. }) => Err(Errno::EADDRNOTAVAIL),
            Err(error) => return Err(error.into()),
        };
        let ping = sender.as_ref().is_ok_and(|sender| sender.way() != SocketType::Raw);
        let socket = SocketTrace { ping, size: plan.size, ..bound(&plan.settings) };
        let sending = SenderTrace { socket: Some(socket), ..SenderTrace::default() };
        Ok(Self {
            plan,
            sender,
            reader,
            replies: ReplyReader::new(),
            sending,
            ahead: AheadProbe::None,
            not_before: None,
            past: None,
            doubtful: BTreeMap::new(),
        })
    }

    /// Opens one whose packets leave by a packet socket, past this host's routing and netfilter; replies are read by a raw socket.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_past(plan: ProbePlan, route: LinkRoute) -> Result<Self, ProberError> {
        let program = plan.settings.program.clone().unwrap_or_default();
        let settings = Settings { program: Some(ProgramSocket { raw: true, ..program }), ..plan.settings };
        let past = past::LinkSocket::open(&settings, route)
            .map_err(|source| ProberError::Reader { what: "open a packet socket", source })?;
        Ok(Self { past: Some(past), ..Self::open(ProbePlan { settings, ..plan })? })
    }

    /// Returns what was sent and what came back so far.
    pub fn sending(&self) -> &SenderTrace {
        &self.sending
    }

    /// Returns which probe looked ahead.
    pub fn ahead(&self) -> AheadProbe {
        self.ahead
    }

    /// Returns the payload of a probe.
    fn bytes(&self, probe: u16) -> Vec<u8> {
        self.plan.bytes(self.ahead.noted(probe))
    }

    /// Returns its plan.
    pub fn plan(&self) -> &ProbePlan {
        &self.plan
    }

    /// Closes its sockets and returns what all its packets have in common, and their id.
    pub fn into_settings(self) -> (Settings, u16) {
        (self.plan.settings, self.plan.id)
    }

    /// Sends all probes and reads what comes back, until the fate of every probe is known, the time runs out, or `stop` is
    /// requested. Once all are sent, `witnessed` is asked every few milliseconds whether others know the fates.
    pub fn run(&mut self, stop: &StopSignal, mut witnessed: impl FnMut(&SenderTrace) -> bool) -> RunEnd {
        let begin = Instant::now();
        let mut due = self.not_before.map_or(begin, |first| first.max(begin));
        let mut ask_at = begin;
        let mut end = None;
        loop {
            if stop.asked() {
                return self.ended(RunEnd::Stopped);
            }
            let now = Instant::now();
            if self.plan.deadline.is_some_and(|deadline| now >= begin + deadline) {
                return self.ended(RunEnd::TimedOut);
            }
            if self.next().is_some() && (now >= due || self.hurries()) {
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
                    // A call that takes long is made less often: reading replies comes first.
                    ask_at = Instant::now() + ASK_EVERY.max(now.elapsed() * 2);
                }
                if now >= end {
                    return self.ended(RunEnd::TimedOut);
                }
            }
            let next = if self.next().is_some() { due } else { ask_at.min(end.unwrap_or(ask_at)) };
            let next = self.plan.deadline.map_or(next, |deadline| next.min(begin + deadline));
            let time = if self.hurries() { Duration::ZERO } else { next.saturating_duration_since(Instant::now()) };
            self.reader.wait(self.sender.as_ref().ok(), time.min(LOOK));
        }
    }

    fn ended(&mut self, how: RunEnd) -> RunEnd {
        self.read_late();
        how
    }

    /// Reads what has arrived since the run ended. Call it after hops were read: a reply that one of them saw may have
    /// arrived at the socket since. A doubtful reply, which may be another program's, counts if nothing else came for
    /// its probe.
    pub fn read_late(&mut self) {
        self.read();
        for (probe, reply) in std::mem::take(&mut self.doubtful) {
            self.sending.received.entry(probe).or_insert(reply);
        }
    }

    /// Returns the number of the next probe.
    fn next(&self) -> Option<u16> {
        let next = u16::try_from(self.sending.probes.len()).ok()?;
        (next < self.plan.count && self.plan.goes_on(&self.sending)).then_some(next)
    }

    /// Reports whether this probe belongs to the run and was sent.
    fn has_sent(&self, probe: u16) -> bool {
        usize::from(probe) < self.sending.probes.len()
    }

    /// Reports whether the next probe leaves before its time.
    fn hurries(&self) -> bool {
        let sent = &self.sending.probes;
        let preloaded = sent.len() < usize::from(self.plan.preload);
        let answered = self.plan.adaptive && sent.last().is_some_and(|sent| fate_known(&self.sending, sent));
        self.next().is_some() && (preloaded || answered)
    }

    fn send_next(&mut self) {
        let Some(probe) = self.next() else { return };
        let bytes = self.bytes(probe);
        let seq = self.plan.seq(probe);
        let sent_ns = monotonic_ns();
        let result = match (&self.past, &mut self.sender) {
            (Some(past), _) => past.send(self.plan.id, seq, &bytes),
            (None, sender) => match sender {
                Ok(sender) => patiently(|| sender.send(self.plan.id, seq, &bytes)),
                Err(errno) => Err(*errno),
            },
        };
        let errno = result.err().map(|errno| format!("{errno:?}"));
        self.sending.probes.push(SentProbe { probe, id: self.plan.id, seq, sent_ns, errno });
    }

    /// Reads everything that has arrived.
    fn read(&mut self) {
        while let Some(message) = self.reader.next() {
            self.take(&message);
        }
        while let Ok(sender) = &mut self.sender
            && let Some(reply) = self.replies.next(sender)
        {
            self.take_reply(&reply);
        }
    }

    /// Notes an ICMP error about a probe.
    fn take(&mut self, message: &reader::Arrived) {
        if let IncomingMessage::Error { icmp_type, code, next_mtu, quote } = message.what {
            let Some(probe) = self.quoted_probe(&quote) else {
                if quote.mark.is_some_and(|mark| self.is_ahead(mark)) {
                    let error = IcmpError { probe: 0, from: message.from, icmp_type, code, next_mtu };
                    self.sending.unanswered_ahead = Some(UnansweredAhead { error: Some(error) });
                }
                return;
            };
            self.sending.errors.push(IcmpError { probe, from: message.from, icmp_type, code, next_mtu });
        }
    }

    /// Notes a reply that the program was given: by its mark, or by id and sequence number, as `ping` does.
    fn take_reply(&mut self, reply: &Reply) {
        if self.plan.settings.echo == Echo::Reply {
            // An unsolicited reply gets no reply; over loopback it comes back to this socket.
            return;
        }
        let payload = self.replies.payload(reply);
        let marked = mark::marked(payload);
        let by_mark = marked.filter(|(_, nonce)| *nonce == self.plan.nonce).map(|(noted, _)| self.ahead.number(noted));
        if marked.is_some_and(|mark| self.is_ahead(mark)) {
            self.sending.unanswered_ahead = None;
        }
        // With an id that others may have, the mark of another run is not an altered mark of this one.
        let ours = reply.id == self.plan.id && (marked.is_none() || self.plan.numbered);
        let by_number = || ours.then(|| self.plan.probe(reply.seq)).flatten();
        let Some(probe) = by_mark.unwrap_or_else(by_number).filter(|probe| self.has_sent(*probe)) else { return };
        let new = Received {
            time_ns: reply.time_ns,
            from: reply.from,
            id: reply.id,
            ttl: reply.ttl,
            times: 0,
            altered: mark::difference(&self.bytes(probe), payload),
            bad_checksum: !reply.sound,
        };
        if by_mark.is_some() || self.plan.numbered {
            self.sending.received.entry(probe).or_insert(new).times += 1;
        } else {
            self.doubtful.entry(probe).or_insert(Received { times: 1, ..new });
        }
    }

    /// Reports whether a mark is that of the probe before the run.
    fn is_ahead(&self, (noted, nonce): (u16, u64)) -> bool {
        nonce == self.plan.nonce && self.ahead == AheadProbe::Apart(noted)
    }

    /// Returns which probe an error quotes: by its mark, or by id and sequence number if the quote is too short for one.
    fn quoted_probe(&self, quote: &QuotedMessage) -> Option<u16> {
        if quote.icmp_type != self.plan.settings.kind().icmp_type() {
            return None;
        }
        match quote.mark {
            Some((noted, nonce)) => {
                let probe = self.ahead.number(noted).filter(|probe| self.has_sent(*probe));
                probe.filter(|_| nonce == self.plan.nonce)
            }
            None => {
                let probe = self.plan.probe(quote.seq).filter(|probe| self.has_sent(*probe));
                probe.filter(|_| !quote.whole && quote.id == self.plan.id)
            }
        }
    }

    /// Reports whether replies, errnos and final ICMP errors account for every probe.
    fn all_known(&self) -> bool {
        self.sending.probes.iter().all(|sent| fate_known(&self.sending, sent))
    }
}

/// Returns what decides whether the socket receives a packet: the device that it is bound to, among all of this host's.
fn bound(settings: &Settings) -> SocketTrace {
    let connected = settings.program.as_ref().is_some_and(|program| program.connected);
    let Some(name) = &settings.interface else { return SocketTrace { connected, ..SocketTrace::default() } };
    let devices = if_nameindex()
        .map(|list| list.iter().map(|device| (device.index(), device.name().to_string_lossy().into_owned())).collect());
    let devices: BTreeMap<u32, String> = devices.unwrap_or_default();
    let bound_to = devices.iter().find(|(_, device)| *device == name).map(|(index, _)| *index);
    let target_at = owner(settings.target.ip()).map(|device| device.name);
    SocketTrace { bound_to, devices, connected, target_at, ..SocketTrace::default() }
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
