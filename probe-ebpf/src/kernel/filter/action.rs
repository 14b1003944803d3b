//! What a rule does with a matching packet: the actions that drop some packets and let the others pass.
//!
//! They count once for all processors, with atomic instructions: counts per processor would let `--first 10`
//! drop ten on each.

use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_ns};
use probe_ebpf::{
    Rule, RuleState,
    filter::{AFTER, CHANCE, EVERY, FIRST, PASS, RATE, token_ns},
};

use crate::kernel::{atomic, maps::RULE_STATES};

/// Reports whether the action of `rule`, which is in `slot`, drops the current packet.
#[inline(always)]
pub(super) fn chooses(slot: u32, rule: &Rule) -> bool {
    match rule.action {
        PASS => false,
        // SAFETY: asks for a number.
        CHANCE => u64::from(unsafe { bpf_get_prandom_u32() }) < rule.amount,
        EVERY | FIRST | AFTER | RATE => RULE_STATES.get_ptr_mut(slot).is_some_and(|state| counts_on(state, rule)),
        _ => true,
    }
}

/// Counts the current packet in the state of its rule, and returns whether to drop it.
#[inline(always)]
fn counts_on(state: *mut RuleState, rule: &Rule) -> bool {
    let amount = rule.amount;
    // SAFETY: the map gave a valid pointer; all writers there use atomic instructions.
    unsafe {
        let seen = &raw mut (*state).seen;
        match rule.action {
            EVERY => (atomic::fetch_add_u64(seen, 1) + 1).checked_rem(amount) == Some(0),
            FIRST => seen.read_volatile() < amount && atomic::fetch_add_u64(seen, 1) < amount,
            AFTER => seen.read_volatile() >= amount || atomic::fetch_add_u64(seen, 1) >= amount,
            _ => !takes_token(&raw mut (*state).full_at_ns, rule),
        }
    }
}

/// How often a processor retries when others take tokens at the same time. Each failure means that another got one.
const TRIES: u32 = 16;

/// Takes a token, if there is one, by the generic cell rate algorithm (ITU-T I.371): a token bucket in one number.
///
/// # Safety
///
/// `full_at` must be valid for reads and writes, and aligned to 8 bytes.
#[inline(always)]
unsafe fn takes_token(full_at: *mut u64, rule: &Rule) -> bool {
    // SAFETY: reads a clock. The coarse one would release tokens tick by tick.
    let now = unsafe { bpf_ktime_get_ns() };
    for _ in 0..TRIES {
        // SAFETY: promised by the caller.
        let before = unsafe { full_at.read_volatile() };
        if before > now + rule.burst_ns {
            return false;
        }
        let after = if before > now { before } else { now } + token_ns(rule.amount);
        // SAFETY: promised by the caller.
        if unsafe { atomic::compare_exchange_u64(full_at, before, after) } == before {
            return true;
        }
    }
    false
}
