//! Raises the TTL step by step to learn which routers answer: how far packets get where nobody watches.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{IncomingMessage, ProberError, Reader, ReplyChoice, payload};
use crate::{
    stop::{LOOK, StopSignal},
    traffic::{Sender, Settings, SocketType},
};

/// The highest TTL that is tried, as `traceroute` does by default.
pub const MAX_TTL: u8 = 30;

/// How many TTLs are tried at a time; a whole group without a reply ends the walk.
const GROUP: u8 = 6;

/// How often a TTL is tried: routers send only so many errors a second.
const TRIES: usize = 2;

/// How long a group waits for replies after its last packet.
const WAIT: Duration = Duration::from_millis(600);

/// The time between two packets, so that one router need not send many errors at once.
const GAP: Duration = Duration::from_millis(5);

/// From how many distances a router must answer to count as part of a loop.
const ROUNDS: usize = 2;

/// Bytes of payload: little more than a mark.
const SIZE: usize = 32;

/// Returns who answered each TTL that was tried, from 1 up; `None`: nobody. The last one is the first at which the
/// target replied or a router reported a drop, if there is such a TTL. Its packets are marked with `nonce`, which must
/// not be the one of a run that is still watched.
///
/// # Errors
/// If this thread may not have raw sockets, or the settings do not fit this host.
pub fn walk(
    settings: &Settings,
    id: u16,
    nonce: u64,
    stop: &StopSignal,
) -> Result<BTreeMap<u8, Option<IpAddr>>, ProberError> {
    let mut walk = Walk {
        settings,
        id,
        nonce,
        reader: Reader::open(settings, nonce, ReplyChoice::Read)?,
        answers: BTreeMap::new(),
    };
    let mut tried = 0;
    while tried < MAX_TTL && walk.end().is_none() && !stop.asked() {
        let group = tried + 1..=tried.saturating_add(GROUP).min(MAX_TTL);
        for _ in 0..TRIES {
            walk.group(group.clone(), stop)?;
        }
        tried = *group.end();
        if !group.into_iter().any(|ttl| walk.answers.contains_key(&ttl)) || walk.goes_round() {
            break;
        }
    }
    let last = walk.end().unwrap_or(tried);
    Ok((1..=last).map(|ttl| (ttl, walk.answers.get(&ttl).map(|answer| answer.from))).collect())
}

struct Walk<'a> {
    settings: &'a Settings,
    id: u16,
    nonce: u64,
    reader: Reader,
    answers: BTreeMap<u8, Answer>,
}

/// Who answered a TTL, and whether that was the end of the path.
#[derive(Clone, Copy, Debug)]
struct Answer {
    from: IpAddr,
    end: bool,
}

impl Walk<'_> {
    /// Reports whether a router answered from so many distances that it must be in a loop.
    fn goes_round(&self) -> bool {
        let at = |from: IpAddr| self.answers.values().filter(|answer| answer.from == from).count();
        self.answers.values().any(|answer| !answer.end && at(answer.from) > ROUNDS)
    }

    /// Tries those TTLs of a group that nobody answered yet, unless the end is known by then.
    fn group(&mut self, ttls: std::ops::RangeInclusive<u8>, stop: &StopSignal) -> Result<(), ProberError> {
        let open = |walk: &Self, ttl: &u8| !walk.answers.contains_key(ttl) && walk.end().is_none_or(|end| *ttl < end);
        for ttl in ttls.clone() {
            if open(self, &ttl) && !stop.asked() {
                self.send(ttl)?;
                self.listen(GAP, stop, |_| false);
            }
        }
        self.listen(WAIT, stop, |walk| !ttls.clone().any(|ttl| open(walk, &ttl)));
        Ok(())
    }

    /// Sends a packet; one that this host refuses counts as one that nobody answers.
    fn send(&self, ttl: u8) -> Result<(), ProberError> {
        let mut sender = Sender::open(&Settings { ttl: Some(ttl), id: None, program: None, ..self.settings.clone() })?;
        if sender.way() != SocketType::Raw {
            return Err(ProberError::NotPrivileged);
        }
        let _ = sender.send(self.id, u16::from(ttl), &payload(u16::from(ttl), self.nonce, SIZE));
        Ok(())
    }

    /// Reads replies for `time`, or until `enough`.
    fn listen(&mut self, time: Duration, stop: &StopSignal, enough: impl Fn(&Self) -> bool) {
        let end = Instant::now() + time;
        loop {
            while let Some(arrived) = self.reader.next() {
                self.take(arrived.from, &arrived.what);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || enough(self) || stop.asked() {
                return;
            }
            self.reader.wait(None, left.min(LOOK));
        }
    }

    fn take(&mut self, from: IpAddr, message: &IncomingMessage) {
        let (probe, end) = match message {
            IncomingMessage::Reply { probe, .. } => (Some(*probe), true),
            IncomingMessage::Error { icmp_type, quote, .. } => {
                let exceeded = *icmp_type == if from.is_ipv6() { 3 } else { 11 };
                let redirect = !from.is_ipv6() && *icmp_type == super::incoming::REDIRECT;
                let by_mark = quote.mark.filter(|(_, nonce)| *nonce == self.nonce).map(|(probe, _)| probe);
                let probe = by_mark.or((!quote.whole && quote.id == self.id).then_some(quote.seq));
                (probe.filter(|_| !redirect), !exceeded)
            }
        };
        let Some(ttl) = probe.and_then(|probe| u8::try_from(probe).ok()).filter(|ttl| (1..=MAX_TTL).contains(ttl))
        else {
            return;
        };
        self.answers.entry(ttl).or_insert(Answer { from, end });
    }

    /// Returns the lowest TTL at which the path ended: the target replied, or somebody refused.
    fn end(&self) -> Option<u8> {
        self.answers.iter().find(|(_, answer)| answer.end).map(|(ttl, _)| *ttl)
    }
}
