//! A model of a guard, with a clock set by the caller: plain tables, no optimisation. The kernel half is tested
//! against it.

use probe_ebpf::{
    Direction, Echo, Family, GuardConfig, GuardCount, GuardKey, Kind,
    guard::{
        KEY_ANSWERER, KEY_ASKER, KEY_CODE, KEY_ID, KEY_SEQ, PROTECT_IN, PROTECT_OUT, REFRESH_REPLY, REFRESH_REQUEST,
        SHARE, WAYS, home, share_tag, tick, tick_after,
    },
};

/// An echo packet at the guarded NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelPacket {
    /// Its direction.
    pub direction: Direction,
    /// IP version, and request or reply.
    pub kind: Kind,
    /// ICMP code.
    pub code: u8,
    /// Echo id.
    pub id: u16,
    /// Echo sequence number.
    pub seq: u16,
    /// Source address in wire order, IPv4 as `::ffff:a.b.c.d`.
    pub source: [u8; 16],
    /// Destination address, in the same form.
    pub destination: [u8; 16],
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardVerdict {
    /// It goes on.
    Pass,
    /// It is dropped.
    Drop,
}

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    key: GuardKey,
    share: u64,
    /// The tick from which on it is expired.
    deadline: u64,
    answered: bool,
    /// The replies that may still pass, if they are limited.
    left: u64,
}

/// A guard.
#[derive(Clone, Debug)]
pub struct GuardModel {
    config: GuardConfig,
    sets: Vec<[Option<State>; WAYS]>,
    counts: [u64; GuardCount::COUNT],
}

impl GuardModel {
    /// Builds a guard with this `config` that has seen nothing.
    pub fn new(config: GuardConfig) -> Self {
        let sets = vec![[None; WAYS]; config.set_mask as usize + 1];
        Self { config, sets, counts: [0; GuardCount::COUNT] }
    }

    /// Returns how often that happened.
    pub fn count(&self, what: GuardCount) -> u64 {
        self.counts[what.index() as usize]
    }

    /// Counts the states that are alive at `now_ns`.
    pub fn states(&self, now_ns: u64) -> usize {
        self.sets.iter().flatten().flatten().filter(|state| state.deadline > tick(now_ns)).count()
    }

    /// Processes a packet at `now_ns`.
    pub fn see(&mut self, now_ns: u64, packet: &ModelPacket) -> GuardVerdict {
        if self.config.deadline_ns != 0 && now_ns >= self.config.deadline_ns {
            return GuardVerdict::Pass;
        }
        let Some(what) = self.judge(now_ns, packet) else { return GuardVerdict::Pass };
        self.note(what);
        if what.is_drop() && self.config.dry_run == 0 { GuardVerdict::Drop } else { GuardVerdict::Pass }
    }

    fn note(&mut self, what: GuardCount) {
        self.counts[what.index() as usize] += 1;
    }

    fn judge(&mut self, now_ns: u64, packet: &ModelPacket) -> Option<GuardCount> {
        let (with, against) = match packet.direction {
            Direction::In => (PROTECT_IN, PROTECT_OUT),
            Direction::Out => (PROTECT_OUT, PROTECT_IN),
        };
        let judged = self.config.protect & with != 0;
        let asking = self.config.protect & against != 0;
        let bad_code = self.config.code_zero != 0 && packet.code != 0;
        match packet.kind.echo {
            Echo::Request if asking && bad_code => None,
            Echo::Request if asking => Some(self.ask(now_ns, packet)),
            Echo::Request if judged && self.config.deny_requests != 0 => Some(GuardCount::Denied),
            Echo::Reply if judged && bad_code => Some(GuardCount::BadCode),
            Echo::Reply if judged => Some(self.answer(now_ns, packet)),
            _ => None,
        }
    }

    fn ask(&mut self, now_ns: u64, packet: &ModelPacket) -> GuardCount {
        let key = self.key(packet);
        let config = self.config;
        if let Some(state) = self.live(&key, tick(now_ns)) {
            state.left += u64::from(config.replies);
            if config.refresh & REFRESH_REQUEST != 0 {
                let lifetime = if state.answered { config.answered_timeout_ns } else { config.timeout_ns };
                state.deadline = tick_after(now_ns, lifetime);
            }
            return GuardCount::Asked;
        }
        let new = State {
            key,
            share: share_tag(&bytemuck::cast(packet.source), key.family, &config.secret),
            deadline: tick_after(now_ns, config.timeout_ns),
            answered: false,
            left: u64::from(config.replies),
        };
        self.make(new, tick(now_ns));
        GuardCount::Asked
    }

    /// Stores a state, if there is room.
    fn make(&mut self, new: State, now: u64) {
        let set = self.set(&new.key);
        let lives = |place: &Option<State>| place.is_some_and(|state| state.deadline > now);
        let own = set.iter().filter(|place| lives(place) && place.is_some_and(|state| state.share == new.share));
        let may_have_more = own.count() < SHARE as usize;
        let dead_self = set.iter().rposition(|place| !lives(place) && place.is_some_and(|state| state.key == new.key));
        let free = dead_self.or_else(|| set.iter().position(|place| !lives(place)));
        if let (true, Some(free)) = (may_have_more, free) {
            set[free] = Some(new);
            return self.note(GuardCount::Made);
        }
        let own_unanswered = set
            .iter_mut()
            .flatten()
            .filter(|state| state.deadline > now && state.share == new.share && !state.answered);
        // Of several that expire together, the first.
        match own_unanswered.min_by_key(|state| state.deadline) {
            Some(oldest) => {
                *oldest = new;
                self.note(GuardCount::Made);
                self.note(GuardCount::Evicted);
            }
            None => self.note(GuardCount::Refused),
        }
    }

    fn answer(&mut self, now_ns: u64, packet: &ModelPacket) -> GuardCount {
        let key = self.key(packet);
        let config = self.config;
        let Some(state) = self.live(&key, tick(now_ns)) else {
            let known = self.set(&key).iter().flatten().any(|state| state.key == key);
            return if known { GuardCount::Expired } else { GuardCount::NoState };
        };
        if config.replies != 0 {
            if state.left == 0 {
                return GuardCount::TooMany;
            }
            state.left -= 1;
        }
        if config.refresh & REFRESH_REPLY != 0 || (!state.answered && config.first_reply_counts != 0) {
            state.deadline = tick_after(now_ns, config.answered_timeout_ns);
        }
        state.answered = true;
        GuardCount::Passed
    }

    fn set(&mut self, key: &GuardKey) -> &mut [Option<State>; WAYS] {
        &mut self.sets[home(key, &self.config.secret, self.config.set_mask).set as usize]
    }

    fn live(&mut self, key: &GuardKey, now: u64) -> Option<&mut State> {
        self.set(key).iter_mut().flatten().find(|state| state.key == *key && state.deadline > now)
    }

    fn key(&self, packet: &ModelPacket) -> GuardKey {
        let fields = self.config.key;
        let asks = packet.kind.echo == Echo::Request;
        let (asker, answerer) =
            if asks { (packet.source, packet.destination) } else { (packet.destination, packet.source) };
        let address = |field, address: [u8; 16]| if fields & field != 0 { bytemuck::cast(address) } else { [0_u64; 2] };
        GuardKey {
            asker: address(KEY_ASKER, asker),
            answerer: address(KEY_ANSWERER, answerer),
            id: if fields & KEY_ID != 0 { packet.id } else { 0 },
            seq: if fields & KEY_SEQ != 0 { packet.seq } else { 0 },
            code: if fields & KEY_CODE != 0 { packet.code } else { 0 },
            family: if packet.kind.family == Family::V4 { 4 } else { 6 },
            outbound: u8::from((packet.direction == Direction::Out) == asks),
            reserved: 0,
        }
    }
}

#[cfg(test)]
mod tests;
