//! The filter: which rule holds for a packet, and what it did.

mod action;

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_loop};
use probe_ebpf::{
    Rule,
    filter::{
        ADDRESSES, ASKS_DESTINATION, ASKS_INNER, ASKS_PAYLOAD, ASKS_SEQ, ASKS_SOURCE, CHOICES, CONDITIONS, DEADLINES,
        DRY_RUN, DRY_RUNS, EGRESS, INNER, MAX_RULES, ON,
    },
    packet::{EchoPacket, addresses},
};

use super::{
    config::config,
    maps::{RULE_INDEX, RULE_STATS, RULES, TALLY_DROP},
    reader::{Packet, WholePacket},
    tally,
};

/// Reports whether the rules are for packets that enter.
#[inline(always)]
pub(crate) fn is_for_ingress() -> bool {
    config!(filter) & (ON | EGRESS) == ON
}

/// Reports whether the rules are for packets that leave.
#[inline(always)]
pub(crate) fn is_for_egress() -> bool {
    config!(filter) & (ON | EGRESS) == ON | EGRESS
}

/// Returns the slot of the first rule for the kind and id of `packet`: one array look-up, whatever rules there are.
#[inline(always)]
pub(crate) fn first_for(packet: &EchoPacket) -> Option<u32> {
    let index = RULE_INDEX.get_ptr(u32::from(packet.id))?;
    // SAFETY: the map gave a valid pointer; the number of a kind is within the index.
    let slot = unsafe { *index.cast::<u16>().add(packet.kind.index() & 3) };
    u32::from(slot).checked_sub(1)
}

/// Reports whether a rule drops `echo`, which was read from `packet`; notes what the rules did. What no present rule needs
/// is not in the program: the verifier knows the features as constants.
#[inline(always)]
pub(crate) fn drops<P: Packet>(packet: &P, echo: &EchoPacket) -> bool {
    let Some(slot) = first_for(echo) else { return false };
    if config!(filter) & (DEADLINES | CHOICES | CONDITIONS | ADDRESSES | DRY_RUNS | INNER) == 0 {
        note(slot, echo, Chosen::Drop);
        return true;
    }
    ask_in_turn(slot, packet, echo)
}

/// Tries the rules from the one in `slot` on. The first that matches decides; one that only counts passes the packet on to
/// the next.
#[inline(always)]
fn ask_in_turn<P: Packet>(slot: u32, packet: &P, echo: &EchoPacket) -> bool {
    let Some(ends) = ends(packet, echo) else { return false };
    let mut round = Round { ends, slot, counted: 0, drops: 0, echo: *echo };
    if config!(filter_steps) == 1 {
        ask(&mut round);
    } else {
        // SAFETY: the callback has the right type, and gets the round, which outlives the call.
        unsafe { bpf_loop(MAX_RULES as u32, ask_next as *mut c_void, (&raw mut round).cast(), 0) };
    }
    round.drops != 0
}

/// The state of a pass over the rules.
struct Round {
    ends: Ends,
    /// The slot of the next rule.
    slot: u32,
    /// 1: a rule that only counts has matched.
    counted: u32,
    /// 1: a rule drops the packet.
    drops: u32,
    echo: EchoPacket,
}

/// Tries one rule for [`bpf_loop`]: the verifier checks it once, not once for each rule.
#[inline(never)]
unsafe extern "C" fn ask_next(_: u32, round: *mut c_void) -> i64 {
    // SAFETY: `ask_in_turn` passes a round.
    let round = unsafe { &mut *round.cast::<Round>() };
    match ask(round) {
        Next::Ask => 0,
        Next::Stop => 1,
    }
}

/// Whether to try another rule.
enum Next {
    Ask,
    Stop,
}

/// Tries one rule.
#[inline(always)]
fn ask(round: &mut Round) -> Next {
    let slot = round.slot;
    let Some(rule) = RULES.get(slot) else { return Next::Stop };
    let dry_run = config!(filter) & DRY_RUNS != 0 && rule.asks & DRY_RUN != 0;
    if !(dry_run && round.counted != 0) && holds(slot, rule, &round.echo, &round.ends) {
        let chosen = config!(filter) & CHOICES == 0 || action::chooses(slot, rule);
        if !dry_run {
            note(slot, &round.echo, if chosen { Chosen::Drop } else { Chosen::Pass });
            round.drops = u32::from(chosen);
            return Next::Stop;
        }
        note(slot, &round.echo, if chosen { Chosen::Count } else { Chosen::Pass });
        round.counted = 1;
    }
    let Some(next) = rule.next.checked_sub(1) else { return Next::Stop };
    round.slot = next;
    Next::Ask
}

/// Source and destination address, as [`probe_ebpf::filter::AddressMask`] takes them.
type Ends = [[u64; 2]; 2];

/// Returns the addresses of `echo`, or zeros if no rule matches addresses.
#[inline(always)]
fn ends<P: Packet>(packet: &P, echo: &EchoPacket) -> Option<Ends> {
    if config!(filter) & ADDRESSES == 0 {
        return Some([[0; 2]; 2]);
    }
    let (source, destination) = addresses(&packet.linear(), echo).or_else(|| addresses(&WholePacket(packet), echo))?;
    Some([words(source), words(destination)])
}

#[inline(always)]
fn words(address: [u8; 16]) -> [u64; 2] {
    // SAFETY: the same 16 bytes; any bytes are numbers.
    unsafe { core::mem::transmute(address) }
}

/// Reports whether the rule in `slot` matches `echo` now.
#[inline(always)]
fn holds(slot: u32, rule: &Rule, echo: &EchoPacket, ends: &Ends) -> bool {
    let features = config!(filter);
    // The index has matched the first rule already, but not the next ones.
    if rule.kinds & (1 << (echo.kind.index() & 3)) == 0
        || !(rule.id_first..=rule.id_last).contains(&echo.id)
        || rule.number == 0
    {
        return false;
    }
    if features & INNER != 0 && (rule.asks & ASKS_INNER != 0) != echo.is_inner {
        return false;
    }
    if features & CONDITIONS != 0 {
        let payloads = u32::from(rule.payload_first)..=u32::from(rule.payload_last);
        if (rule.asks & ASKS_SEQ != 0 && !(rule.seq_first..=rule.seq_last).contains(&echo.seq))
            || (rule.asks & ASKS_PAYLOAD != 0 && !payloads.contains(&echo.payload_bytes()))
        {
            return false;
        }
    }
    if features & ADDRESSES != 0
        && ((rule.asks & ASKS_SOURCE != 0 && !rule.source.contains(ends[0]))
            || (rule.asks & ASKS_DESTINATION != 0 && !rule.destination.contains(ends[1])))
    {
        return false;
    }
    features & DEADLINES == 0 || rule.deadline_ns == 0 || now(slot) < rule.deadline_ns
}

/// What a rule's action chose for a matching packet.
#[derive(Clone, Copy)]
enum Chosen {
    Drop,
    /// It would drop the packet, but this is a dry run.
    Count,
    Pass,
}

/// Notes what the rule in `slot` did with `packet`.
#[inline(always)]
fn note(slot: u32, packet: &EchoPacket, chosen: Chosen) {
    if matches!(chosen, Chosen::Drop) {
        tally::count(&TALLY_DROP, packet);
    }
    let Some(stats) = RULE_STATS.get_ptr_mut(slot) else { return };
    let tick = tick();
    // SAFETY: the map gave a valid pointer to this processor's own statistics.
    unsafe {
        if matches!(chosen, Chosen::Pass) {
            (*stats).passed += 1;
        } else {
            (*stats).chosen.packets += 1;
            (*stats).chosen.bytes += u64::from(packet.ip_bytes);
        }
        if (*stats).last_tick != tick {
            (*stats).last_tick = tick;
            (*stats).last_ns = clock();
        }
    }
}

/// Returns `CLOCK_MONOTONIC`: as the rule in `slot` noted it in this tick, or else from the clock.
#[inline(always)]
fn now(slot: u32) -> u64 {
    match RULE_STATS.get(slot) {
        Some(stats) if stats.last_tick == tick() => stats.last_ns,
        _ => clock(),
    }
}

/// Reads `CLOCK_MONOTONIC`, exact to one tick: a tenth of the cost of the exact clock, though still a call.
#[inline(always)]
fn clock() -> u64 {
    // SAFETY: reads a clock.
    unsafe { bpf_ktime_get_coarse_ns() }
}

/// Returns the number of the kernel's current tick: the verifier turns it into one load.
#[inline(always)]
fn tick() -> u64 {
    // SAFETY: reads a counter.
    unsafe { bpf_jiffies64() }
}
