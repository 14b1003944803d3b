//! The payload of a probe: the mark that identifies it everywhere, and counting bytes after it.

use std::hash::{BuildHasher, RandomState};

use bytemuck::bytes_of;
use probe_ebpf::journey::{MAGIC, MARK_BYTES, MAX_PROBES, Mark};

use super::{ProbePlan, ProberError};
use crate::{clock::monotonic_ns, model::trace::PayloadChange, traffic::packet::counting_payload};

/// Builds the payload of probe `probe`: its [`Mark`], then bytes that count on from where they would be without it. It has
/// `size` bytes, or those of a mark if that is more.
pub fn payload(probe: u16, nonce: u64, size: usize) -> Vec<u8> {
    let mark = Mark { magic: MAGIC, index: probe.to_be_bytes(), reserved: [0; 2], nonce: nonce.to_be_bytes() };
    let mut bytes = counting_payload(size.max(MARK_BYTES));
    bytes[..MARK_BYTES].copy_from_slice(bytes_of(&mark));
    bytes
}

/// What fills a payload: up to 16 bytes, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// The most bytes of a pattern.
    pub const MOST: usize = 16;

    /// Returns the pattern of these bytes; `None` if there are none, or too many.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (1..=Self::MOST).contains(&bytes.len()).then_some(Self(bytes))
    }
}

/// Builds the payload of probe `probe` with exactly `size` bytes: its mark if there is room, then the pattern, or bytes that
/// count on from where they would be without a mark.
pub(super) fn bytes(probe: u16, nonce: u64, size: usize, pattern: Option<&Pattern>) -> Vec<u8> {
    let mut bytes = match pattern {
        Some(Pattern(pattern)) => pattern.iter().copied().cycle().take(size).collect(),
        None => counting_payload(size),
    };
    if let Some(start) = bytes.get_mut(..MARK_BYTES) {
        start.copy_from_slice(&payload(probe, nonce, MARK_BYTES));
    }
    bytes
}

/// Returns how a payload that came back first differs from what was `sent`.
pub(super) fn difference(sent: &[u8], seen: &[u8]) -> Option<PayloadChange> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let byte = sent.iter().zip(seen).position(|(sent, seen)| sent != seen);
    match byte {
        Some(at) => {
            Some(PayloadChange::Byte { at: u32::try_from(at).unwrap_or(u32::MAX), sent: sent[at], seen: seen[at] })
        }
        None if sent.len() == seen.len() => None,
        None => Some(PayloadChange::Length { sent: length(sent), seen: length(seen) }),
    }
}

/// Parses the mark in a payload: the probe's number and the run's nonce.
pub(super) fn marked(payload: &[u8]) -> Option<(u16, u64)> {
    let mark: Mark = bytemuck::pod_read_unaligned(payload.get(..MARK_BYTES)?);
    (mark.magic == MAGIC).then(|| (u16::from_be_bytes(mark.index), u64::from_be_bytes(mark.nonce)))
}

/// Checks that a run with this `plan` is possible.
pub(super) fn check(plan: &ProbePlan) -> Result<(), ProberError> {
    if usize::from(plan.size) < MARK_BYTES && !plan.numbered {
        return Err(ProberError::TooSmall { size: plan.size });
    }
    if plan.count == 0 || u32::from(plan.count) > MAX_PROBES {
        return Err(ProberError::Count { count: plan.count });
    }
    Ok(())
}

/// Returns a random number: the standard library seeds its hashers from the system's random numbers.
pub fn random() -> u64 {
    RandomState::new().hash_one(monotonic_ns())
}
