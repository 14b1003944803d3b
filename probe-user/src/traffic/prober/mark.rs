//! The payload of a probe: the mark that identifies it everywhere, and counting bytes after it.

use std::hash::{BuildHasher, RandomState};

use bytemuck::bytes_of;
use probe_ebpf::journey::{MAGIC, MARK_BYTES, MAX_PROBES, Mark};

use super::{ProbePlan, ProberError};
use crate::{clock::monotonic_ns, traffic::packet::counting_payload};

/// Builds the payload of probe `probe`: its [`Mark`], then bytes that count on from where they would be without it. It has
/// `size` bytes, or those of a mark if that is more.
pub fn payload(probe: u16, nonce: u64, size: usize) -> Vec<u8> {
    let mark = Mark { magic: MAGIC, index: probe.to_be_bytes(), reserved: [0; 2], nonce: nonce.to_be_bytes() };
    let mut bytes = counting_payload(size.max(MARK_BYTES));
    bytes[..MARK_BYTES].copy_from_slice(bytes_of(&mark));
    bytes
}

/// Parses the mark in a payload: the probe's number and the run's nonce.
pub(super) fn marked(payload: &[u8]) -> Option<(u16, u64)> {
    let mark: Mark = bytemuck::pod_read_unaligned(payload.get(..MARK_BYTES)?);
    (mark.magic == MAGIC).then(|| (u16::from_be_bytes(mark.index), u64::from_be_bytes(mark.nonce)))
}

/// Checks that a run with this `plan` is possible.
pub(super) fn check(plan: &ProbePlan) -> Result<(), ProberError> {
    if usize::from(plan.size) < MARK_BYTES {
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
