//! The guard: which requests are remembered, and which replies pass for them.

mod clock;
mod config;
mod counters;
pub(crate) mod note;
mod table;

use aya_ebpf::programs::{TcContext, XdpContext};
use probe_ebpf::{
    Direction, Echo, GuardCount, GuardKey, Skip,
    guard::{
        Home, KEY_ANSWERER, KEY_ASKER, KEY_CODE, KEY_ID, KEY_SEQ, PROTECT_IN, PROTECT_OUT, REFRESH_REPLY,
        REFRESH_REQUEST, Word, share_tag, tick, tick_after,
    },
    packet::{EchoPacket, address_words},
};

use super::{
    disposition::Disposition,
    maps::NOTES,
    reader::{Packet, TcPacket, WholePacket, XdpPacket, read},
};
use config::guard;
use counters::count;
use note::GuardNote;
use table::{LiveState, NewState, Put, StateLookup};

/// Handles a packet at XDP.
#[inline(always)]
pub(crate) fn enter_xdp(context: &XdpContext) -> Result<Disposition, Skip> {
    see(&XdpPacket::<true>(context.ctx), Direction::In)
}

/// Handles a packet at tc ingress.
#[inline(always)]
pub(crate) fn enter_tc(context: &TcContext) -> Result<Disposition, Skip> {
    see(&TcPacket(context.skb.skb), Direction::In)
}

/// Handles a packet at tc egress.
#[inline(always)]
pub(crate) fn leave_tc(context: &TcContext) -> Result<Disposition, Skip> {
    see(&TcPacket(context.skb.skb), Direction::Out)
}

/// The role of a packet for this guard.
#[derive(Clone, Copy)]
enum Role {
    /// A request for which replies may pass.
    Asks,
    /// A reply that needs a request.
    Answers,
    /// A request that must not pass.
    Denied,
}

#[inline(always)]
fn see<P: Packet>(packet: &P, direction: Direction) -> Result<Disposition, Skip> {
    let echo = read(packet)?;
    let now = clock::now();
    if guard!(deadline_ns) != 0 && now >= guard!(deadline_ns) {
        return Ok(Disposition::Pass);
    }
    let bad_code = guard!(code_zero) != 0 && echo.code != 0;
    let what = match role(&echo, direction) {
        // It passes, as every request does, but makes no state.
        Some(Role::Asks) if bad_code => return Ok(Disposition::Pass),
        Some(Role::Answers) if bad_code => GuardCount::BadCode,
        Some(Role::Denied) => GuardCount::Denied,
        Some(role) => {
            let Some(note) = NOTES.get_ptr_mut(direction as u32) else { return Ok(Disposition::Pass) };
            // SAFETY: the map gave a valid pointer to this processor's own note of this direction, and one program at a
            // time runs in a direction.
            unsafe { note.write_volatile(note_of(packet, &echo, role, direction)?) };
            // SAFETY: as above.
            settle(unsafe { note.read_volatile() }, now)
        }
        None => return Ok(Disposition::Pass),
    };
    count(what);
    if !what.is_drop() {
        return Ok(Disposition::Pass);
    }
    counters::note_drop(echo.id);
    Ok(if guard!(dry_run) == 0 { Disposition::Drop } else { Disposition::Pass })
}

/// Notes what the table must know of a packet.
#[inline(always)]
fn note_of<P: Packet>(packet: &P, echo: &EchoPacket, role: Role, direction: Direction) -> Result<GuardNote, Skip> {
    let [source, destination] = ends(packet, echo)?;
    let asks = matches!(role, Role::Asks);
    let (asker, answerer) = if asks { (source, destination) } else { (destination, source) };
    let key = key(echo, asker, answerer, matches!(direction, Direction::Out) == asks);
    Ok(GuardNote { key, asker, asks: u64::from(asks) })
}

#[inline(always)]
fn role(echo: &EchoPacket, direction: Direction) -> Option<Role> {
    let (own, opposite) = match direction {
        Direction::In => (PROTECT_IN, PROTECT_OUT),
        Direction::Out => (PROTECT_OUT, PROTECT_IN),
    };
    let protects = |way: u32| guard!(protect) & way != 0;
    match echo.kind.echo {
        Echo::Request if protects(opposite) => Some(Role::Asks),
        Echo::Request if protects(own) && guard!(deny_requests) != 0 => Some(Role::Denied),
        Echo::Reply if protects(own) => Some(Role::Answers),
        _ => None,
    }
}

/// Looks up the state of a packet, and decides what follows.
#[inline(always)]
fn settle(note: GuardNote, now: u64) -> GuardCount {
    let home = table::home(&note.key);
    let found = table::find(&home, &note.key, tick(now));
    match (note.asks != 0, found) {
        (true, StateLookup::Live(state)) => renew(state, now),
        (true, _) => {
            let share = share_tag(&note.asker, note.key.family, &table::secret());
            let word = Word::new(home.tag, share, tick_after(now, guard!(timeout_ns)));
            let new = NewState { key: note.key, share, word, left: guard!(replies) };
            make(&home, &new, found.expired_way(), now)
        }
        (false, StateLookup::Live(state)) => pass(state, now),
        (false, StateLookup::Expired(_)) => GuardCount::Expired,
        (false, StateLookup::Nothing) => GuardCount::NoState,
    }
}

#[inline(always)]
fn ends<P: Packet>(packet: &P, echo: &EchoPacket) -> Result<[[u64; 2]; 2], Skip> {
    let ends = address_words(&packet.linear(), echo).or_else(|| address_words(&WholePacket(packet), echo));
    ends.ok_or(Skip::Truncated)
}

/// Handles a further request for a state.
#[inline(always)]
fn renew(state: LiveState, now: u64) -> GuardCount {
    if guard!(replies) != 0 {
        state.allow(guard!(replies));
    }
    if guard!(refresh) & REFRESH_REQUEST != 0 {
        let lifetime = if state.word.is_answered() { guard!(answered_timeout_ns) } else { guard!(timeout_ns) };
        state.set(state.word.until(tick_after(now, lifetime)));
    }
    GuardCount::Asked
}

/// Handles a request that has no state.
#[inline(always)]
fn make(home: &Home, new: &NewState, expired: Option<u32>, now: u64) -> GuardCount {
    match table::put(home, new, expired, tick(now)) {
        Put::Made => count(GuardCount::Made),
        Put::Evicted => {
            count(GuardCount::Made);
            count(GuardCount::Evicted);
        }
        Put::Refused => count(GuardCount::Refused),
    }
    GuardCount::Asked
}

/// Handles a reply that has a state.
#[inline(always)]
fn pass(state: LiveState, now: u64) -> GuardCount {
    if guard!(replies) != 0 && !state.take() {
        return GuardCount::TooMany;
    }
    let first = !state.word.is_answered();
    let word = state.word.answered();
    if guard!(refresh) & REFRESH_REPLY != 0 || (first && guard!(first_reply_counts) != 0) {
        state.set(word.until(tick_after(now, guard!(answered_timeout_ns))));
    } else if first {
        state.set(word);
    }
    GuardCount::Passed
}

/// Returns the key of a packet's state, with the fields that this guard uses.
#[inline(always)]
fn key(echo: &EchoPacket, asker: [u64; 2], answerer: [u64; 2], outbound: bool) -> GuardKey {
    let fields = guard!(key);
    let chosen = |field: u32| fields & field != 0;
    GuardKey {
        asker: if chosen(KEY_ASKER) { asker } else { [0; 2] },
        answerer: if chosen(KEY_ANSWERER) { answerer } else { [0; 2] },
        id: if chosen(KEY_ID) { echo.id } else { 0 },
        seq: if chosen(KEY_SEQ) { echo.seq } else { 0 },
        code: if chosen(KEY_CODE) { echo.code } else { 0 },
        family: echo.kind.family.version(),
        outbound: u8::from(outbound),
        reserved: 0,
    }
}
