//! Boxes as their makers might describe them: what they remember, for how long, what they let pass.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use probe_user::middlebox::timeline::Endpoint;

/// A packet on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) kind: Kind,
    pub(crate) from: Endpoint,
    /// The echo id; of an error, that of what it quotes.
    pub(crate) id: u16,
    pub(crate) seq: u16,
    pub(crate) code: u8,
    pub(crate) size: u16,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Reply,
    Error,
}

/// Something that packets go through.
pub(crate) trait Through {
    /// Whether the packet passes; it may be rewritten.
    fn pass(&mut self, now: Duration, packet: &mut Packet) -> bool;
}

/// What a firewall does with codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codes {
    InKey,
    Ignored,
    ZeroOnly,
}

/// What it does with an unsolicited reply from the near end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strays {
    Stopped,
    Pass,
    Remembered,
}

/// A firewall between a near (inner) and a far (outer) end. The near end may always ask.
#[derive(Clone, Debug)]
pub(crate) struct Firewall {
    pub(crate) stateful: bool,
    pub(crate) id: bool,
    pub(crate) seq: bool,
    pub(crate) source: bool,
    pub(crate) destination: bool,
    pub(crate) codes: Codes,
    pub(crate) timeout: f64,
    pub(crate) after_reply: Option<f64>,
    pub(crate) refreshed_by_request: bool,
    pub(crate) refreshed_by_reply: bool,
    pub(crate) replies: Option<u32>,
    pub(crate) far_may_ask: bool,
    pub(crate) types_mixed: bool,
    pub(crate) strays: Strays,
    pub(crate) errors_about_seen: bool,
    pub(crate) errors_about_unseen: bool,
    pub(crate) error_ends_state: bool,
    pub(crate) largest: u16,
    /// Requests a second, and how many at once.
    pub(crate) rate: Option<(f64, f64)>,
    pub(crate) memory: Memory,
}

/// What a firewall remembers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    table: HashMap<Key, Entry>,
    tokens: Option<f64>,
    filled: Duration,
}

/// Fields that are not looked at are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    asker: Option<IpAddr>,
    answerer: Option<IpAddr>,
    from_near: bool,
    id: u16,
    seq: u16,
    code: u8,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    until: Duration,
    replies: u32,
}

impl Firewall {
    /// Linux conntrack with a rule that lets the near end ask and drops what is invalid.
    pub(crate) fn conntrack(timeout: f64) -> Self {
        Self {
            stateful: true,
            id: true,
            seq: false,
            source: true,
            destination: true,
            codes: Codes::InKey,
            timeout,
            after_reply: None,
            refreshed_by_request: true,
            refreshed_by_reply: true,
            replies: None,
            far_may_ask: false,
            types_mixed: false,
            strays: Strays::Stopped,
            errors_about_seen: true,
            errors_about_unseen: false,
            error_ends_state: false,
            largest: u16::MAX,
            rate: None,
            memory: Memory::default(),
        }
    }

    /// Rules that look at single packets only.
    pub(crate) fn stateless() -> Self {
        Self {
            stateful: false,
            far_may_ask: true,
            strays: Strays::Pass,
            errors_about_unseen: true,
            ..Self::conntrack(1.0)
        }
    }

    fn key(&self, packet: &Packet, asked_by: Endpoint) -> Key {
        let ends = if packet.from == asked_by {
            (packet.source, packet.destination)
        } else {
            (packet.destination, packet.source)
        };
        let (near, far) = if asked_by == Endpoint::Near { ends } else { (ends.1, ends.0) };
        let [near, far] =
            [(near, self.destination), (far, self.source)].map(|(end, looked_at)| looked_at.then_some(end));
        let code = if packet.kind == Kind::Error { 0 } else { packet.code };
        Key {
            asker: near,
            answerer: far,
            from_near: asked_by == Endpoint::Near,
            id: if self.id { packet.id } else { 0 },
            seq: if self.seq { packet.seq } else { 0 },
            code: if self.codes == Codes::InKey { code } else { 0 },
        }
    }

    fn ask(&mut self, now: Duration, key: Key) {
        let until = now + Duration::from_secs_f64(self.timeout);
        let refreshed = self.refreshed_by_request;
        let entry = self.memory.table.entry(key).or_insert(Entry { until, replies: 0 });
        if entry.until < now {
            *entry = Entry { until, replies: 0 };
        } else if refreshed {
            entry.until = until;
        }
    }

    fn answer(&mut self, now: Duration, key: Key) -> bool {
        let Some(entry) = self.memory.table.get_mut(&key).filter(|entry| entry.until >= now) else { return false };
        entry.replies += 1;
        match self.after_reply {
            Some(time) => entry.until = now + Duration::from_secs_f64(time),
            None if self.refreshed_by_reply => entry.until = now + Duration::from_secs_f64(self.timeout),
            None => {}
        }
        if self.replies.is_some_and(|most| entry.replies >= most) {
            self.memory.table.remove(&key);
        }
        true
    }

    fn has(&self, now: Duration, key: &Key) -> bool {
        self.memory.table.get(key).is_some_and(|entry| entry.until >= now)
    }

    /// A token bucket.
    fn within_rate(&mut self, now: Duration) -> bool {
        let Some((rate, burst)) = self.rate else { return true };
        let since = now.saturating_sub(self.memory.filled).as_secs_f64();
        self.memory.filled = now;
        let tokens = self.memory.tokens.map_or(burst, |tokens| (tokens + since * rate).min(burst));
        let enough = tokens >= 1.0;
        self.memory.tokens = Some(if enough { tokens - 1.0 } else { tokens });
        enough
    }

    fn error(&mut self, now: Duration, packet: &Packet) -> bool {
        let key = self.key(packet, packet.from.other());
        let seen = self.has(now, &key);
        if seen && self.error_ends_state {
            self.memory.table.remove(&key);
        }
        if seen { self.errors_about_seen } else { self.errors_about_unseen }
    }

    fn request(&mut self, now: Duration, packet: &Packet) -> bool {
        let allowed = match packet.from {
            Endpoint::Near => true,
            Endpoint::Far => {
                let near = self.key(packet, Endpoint::Near);
                self.far_may_ask || (self.types_mixed && self.has(now, &near))
            }
        };
        if allowed && self.within_rate(now) {
            self.ask(now, self.key(packet, packet.from));
            return true;
        }
        false
    }

    fn reply(&mut self, now: Duration, packet: &Packet) -> bool {
        if self.answer(now, self.key(packet, packet.from.other())) {
            return true;
        }
        match (packet.from, self.strays) {
            (Endpoint::Near, Strays::Pass) => true,
            (Endpoint::Near, Strays::Remembered) => {
                self.ask(now, self.key(packet, Endpoint::Near));
                true
            }
            _ => false,
        }
    }
}

impl Through for Firewall {
    fn pass(&mut self, now: Duration, packet: &mut Packet) -> bool {
        if packet.size > self.largest
            || (self.codes == Codes::ZeroOnly && packet.kind != Kind::Error && packet.code != 0)
        {
            return false;
        }
        if !self.stateful {
            return packet.kind != Kind::Request || self.within_rate(now);
        }
        match packet.kind {
            Kind::Error => self.error(now, packet),
            Kind::Request => self.request(now, packet),
            Kind::Reply => self.reply(now, packet),
        }
    }
}
