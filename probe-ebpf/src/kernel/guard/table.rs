//! The table of states: finds them, changes them, and makes room for new ones. Processors share it without locks: a
//! place changes by compare and exchange of its word, and whoever loses the race leaves it as it is.

use probe_ebpf::{
    GuardKey, GuardSet, GuardState,
    guard::{self, BUSY, Home, SHARE, WAYS, Word},
};

use super::config::guard;
use crate::kernel::{
    atomic,
    maps::{GUARD_SETS, GUARD_STATES},
};

/// How many places with a state's tag are checked: one pair of states in two thousand has the same tag.
const CANDIDATES: usize = 4;

/// Returns the secret of the table's hash.
#[inline(always)]
pub(super) fn secret() -> [u64; 5] {
    [guard!(secret[0]), guard!(secret[1]), guard!(secret[2]), guard!(secret[3]), guard!(secret[4])]
}

/// Returns the location of the state with this key.
#[inline(always)]
pub(super) fn home(key: &GuardKey) -> Home {
    guard::home(key, &secret(), guard!(set_mask))
}

/// A live state.
#[derive(Clone, Copy)]
pub(super) struct LiveState {
    place: *mut u64,
    state: *mut GuardState,
    /// Its word, as it was found.
    pub(super) word: Word,
}

/// The result of looking up a key.
#[derive(Clone, Copy)]
pub(super) enum StateLookup {
    /// A live state.
    Live(LiveState),
    /// An expired state, and its way.
    Expired(u32),
    /// No state.
    Nothing,
}

impl StateLookup {
    /// Returns the way of an expired state with the same key.
    #[inline(always)]
    pub(super) fn expired_way(self) -> Option<u32> {
        match self {
            Self::Expired(way) => Some(way),
            _ => None,
        }
    }
}

impl LiveState {
    /// Sets its word, unless another processor has changed it meanwhile: that word is just as valid.
    #[inline(always)]
    pub(super) fn set(self, word: Word) {
        if word != self.word {
            // SAFETY: the place came from the map in this run of the program.
            unsafe { atomic::compare_exchange_u64(self.place, self.word.0, word.0) };
        }
    }

    /// Lets that many more replies pass.
    #[inline(always)]
    pub(super) fn allow(self, replies: u32) {
        // SAFETY: the state came from the map in this run of the program.
        unsafe { atomic::add_u64((&raw mut (*self.state).left).cast(), u64::from(replies)) };
    }

    /// Takes one reply from those that may still pass; returns whether there was one. Between the two additions another
    /// processor may see one too few, but never one too many.
    #[inline(always)]
    pub(super) fn take(self) -> bool {
        // SAFETY: as above.
        unsafe {
            let left: *mut u64 = (&raw mut (*self.state).left).cast();
            let had = atomic::fetch_add_u64(left, u64::MAX).cast_signed();
            if had <= 0 {
                atomic::add_u64(left, 1);
            }
            had > 0
        }
    }
}

/// Looks up the state with this key.
#[inline(always)]
pub(super) fn find(home: &Home, key: &GuardKey, now: u64) -> StateLookup {
    let Some(set) = GUARD_SETS.get_ptr_mut(home.set) else { return StateLookup::Nothing };
    let mut candidates = ways(set, |word| is_less(word.tag_difference(home.tag), 1));
    let mut found = StateLookup::Nothing;
    for _ in 0..CANDIDATES {
        if candidates == 0 {
            break;
        }
        let way = candidates.trailing_zeros() & (WAYS as u32 - 1);
        candidates &= candidates - 1;
        let Some(state) = GUARD_STATES.get_ptr_mut(home.set * WAYS as u32 + way) else { break };
        let place = place(set, u64::from(way));
        // SAFETY: the map gave valid pointers.
        let (word, same) = unsafe { (Word(place.read_volatile()), is_of(state, key)) };
        if !same || word.0 == BUSY {
            continue;
        }
        if word.lives(now) {
            return StateLookup::Live(LiveState { place, state, word });
        }
        found = StateLookup::Expired(way);
    }
    found
}

/// A state to store.
#[derive(Clone, Copy)]
pub(super) struct NewState {
    pub(super) key: GuardKey,
    /// The share of the set that it counts for.
    pub(super) share: u64,
    pub(super) word: Word,
    /// How many replies may pass.
    pub(super) left: u32,
}

/// The result of storing a state.
#[derive(Clone, Copy)]
pub(super) enum Put {
    /// It was stored.
    Made,
    /// It replaced a live state of the same asker.
    Evicted,
    /// There is no room for it.
    Refused,
}

/// Stores a state: in the place of one with the same key, or in a free place, or in place of another state of its asker.
#[inline(never)]
pub(super) fn put(home: &Home, new: &NewState, expired: Option<u32>, now: u64) -> Put {
    let Some(set) = GUARD_SETS.get_ptr_mut(home.set) else { return Put::Refused };
    let live = ways(set, |word| is_less(now, word.deadline()));
    let own = live & ways(set, |word| is_less(word.share_difference(new.share), 1));
    let free = !live & (u64::MAX >> (64 - WAYS));
    let has_room = own.count_ones() < SHARE && free != 0;
    let way = if has_room { Some(expired.unwrap_or(free.trailing_zeros())) } else { oldest_unanswered(set, own) };
    let Some(way) = way else { return Put::Refused };
    if !fill(set, home.set, way, new) {
        return Put::Refused;
    }
    if has_room { Put::Made } else { Put::Evicted }
}

/// Writes `new` to a place, which must not change meanwhile.
#[inline(always)]
fn fill(set: *mut GuardSet, number: u32, way: u32, new: &NewState) -> bool {
    let way = way & (WAYS as u32 - 1);
    let Some(state) = GUARD_STATES.get_ptr_mut(number * WAYS as u32 + way) else { return false };
    let place = place(set, u64::from(way));
    // SAFETY: the map gave valid pointers; while the word is BUSY, no other processor takes the place or trusts its state.
    unsafe {
        let before = place.read_volatile();
        if before == BUSY || atomic::compare_exchange_u64(place, before, BUSY) != before {
            return false;
        }
        (*state).key = new.key;
        (*state).left = i64::from(new.left);
        atomic::compare_exchange_u64(place, BUSY, new.word.0);
    }
    true
}

/// Returns, of these ways, the one with the unanswered state that expires first.
#[inline(always)]
fn oldest_unanswered(set: *mut GuardSet, own: u64) -> Option<u32> {
    /// More than any rank of a state.
    const NOBODY: u64 = 1 << 62;
    let (mut oldest, mut way) = (NOBODY, 0);
    while way < WAYS as u64 {
        // SAFETY: the map gave a valid pointer, and the way is one of its set.
        let word = Word(unsafe { place(set, way).read_volatile() });
        let is_eligible = own >> way & 1 & !word.answered_bit();
        let rank = word.deadline() * WAYS as u64 + way + NOBODY * (1 - is_eligible);
        oldest = lower(oldest, rank);
        way = next(way);
    }
    (oldest < NOBODY).then_some(oldest as u32 & (WAYS as u32 - 1))
}

/// Returns the lower of two numbers below 2^63, without a branch.
#[inline(always)]
fn lower(one: u64, other: u64) -> u64 {
    one ^ ((one ^ other) & 0_u64.wrapping_sub(is_less(other, one)))
}

/// Returns 1 if the one of two numbers below 2^63 is less than the other, else 0. It has no branch, because the verifier
/// would follow 2^16 paths through sixteen of them; the compiler makes a branch of any subtraction that it can see.
#[inline(always)]
fn is_less(one: u64, other: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut difference = one;
        // SAFETY: a subtraction.
        unsafe {
            core::arch::asm!("{difference} -= {other}", difference = inout(reg) difference, other = in(reg) other,
                options(nomem, nostack));
        }
        difference >> 63
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        one.wrapping_sub(other) >> 63
    }
}

/// Returns the ways of `set` whose words satisfy `holds` (1, not 0), as bits.
#[inline(always)]
fn ways(set: *mut GuardSet, holds: impl Fn(Word) -> u64) -> u64 {
    let (mut bits, mut way) = (0, 0);
    while way < WAYS as u64 {
        // SAFETY: the map gave a valid pointer, and the way is one of its set.
        let word = Word(unsafe { place(set, way).read_volatile() });
        bits |= holds(word) << way;
        way = next(way);
    }
    bits
}

/// Returns the next way, by an instruction that the compiler cannot see through. So a loop stays a loop: sixteen copies of
/// its body would not fit into a program's stack of 512 bytes.
#[inline(always)]
fn next(way: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut way = way;
        // SAFETY: an addition.
        unsafe { core::arch::asm!("{way} += 1", way = inout(reg) way, options(nomem, nostack)) };
        way
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        way + 1
    }
}

/// Returns a pointer to the word of a way, which must be below [`WAYS`].
#[inline(always)]
fn place(set: *mut GuardSet, way: u64) -> *mut u64 {
    set.cast::<u64>().wrapping_add(way as usize)
}

/// Reports whether a state has this key.
///
/// # Safety
///
/// `state` must be valid for reads.
#[inline(always)]
unsafe fn is_of(state: *mut GuardState, key: &GuardKey) -> bool {
    let wanted: [u64; 5] = bytemuck::cast(*key);
    // SAFETY: a state starts with its key, and the caller vouches for it.
    let words = unsafe { state.cast::<[u64; 5]>().read_volatile() };
    let mut other = 0;
    for (word, wanted) in words.iter().zip(&wanted) {
        other |= word ^ wanted;
    }
    other == 0
}
