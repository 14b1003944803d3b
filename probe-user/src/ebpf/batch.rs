//! Reads hash maps in bulk: looking up each entry by itself costs one system call per entry.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use bytemuck::{Pod, Zeroable};
use nix::libc;

use super::bpf_sys::{Element, LookupBatch, bpf};

const MAP_LOOKUP_AND_DELETE_ELEM: libc::c_int = 21;
const MAP_LOOKUP_BATCH: libc::c_int = 24;

/// How many entries the first call asks for.
const FIRST_BATCH: u32 = 1024;

/// More than any hash bucket holds: a kernel that still asks for more room is wrong.
const LARGEST_BATCH: u32 = 1 << 20;

/// Returns every entry of a hash map with keys `K` and values `V`. Entries added or removed meanwhile may be in it or not.
///
/// # Errors
/// The kernel's answer.
pub fn entries<K: Pod, V: Pod>(map: &impl AsFd) -> io::Result<Vec<(K, V)>> {
    let mut found = Vec::new();
    let mut size = FIRST_BATCH;
    let (mut here, mut next) = (0_u64, 0_u64);
    let mut first = true;
    loop {
        let mut keys = vec![K::zeroed(); size as usize];
        let mut values = vec![V::zeroed(); size as usize];
        let mut attributes = LookupBatch {
            in_batch: if first { 0 } else { (&raw const here).expose_provenance() as u64 },
            out_batch: (&raw mut next).expose_provenance() as u64,
            keys: keys.as_mut_ptr().expose_provenance() as u64,
            values: values.as_mut_ptr().expose_provenance() as u64,
            count: size,
            map_fd: map.as_fd().as_raw_fd().cast_unsigned(),
            ..LookupBatch::zeroed()
        };
        // SAFETY: the kernel writes at most `count` keys and values, for which both have room; a position in a hash map
        // takes 4 of the 8 bytes that `here` and `next` have; all of them outlive the call.
        let outcome = unsafe { bpf(MAP_LOOKUP_BATCH, &mut attributes) };
        let errno = outcome.as_ref().err().and_then(io::Error::raw_os_error);
        match errno {
            Some(libc::ENOSPC) if size < LARGEST_BATCH => {
                size *= 2;
                continue;
            }
            None | Some(libc::ENOENT) => {}
            Some(_) => {
                outcome?;
            }
        }
        found.extend(keys.into_iter().zip(values).take(attributes.count as usize));
        if errno == Some(libc::ENOENT) {
            return Ok(found);
        }
        here = next;
        first = false;
    }
}

/// Removes and returns the entry of `key` in a hash map; `None` if there is none (any more).
///
/// # Errors
/// The kernel's answer.
pub fn take<K: Pod, V: Pod>(map: &impl AsFd, key: &K) -> io::Result<Option<V>> {
    let mut value = V::zeroed();
    let mut attributes = Element {
        map_fd: map.as_fd().as_raw_fd().cast_unsigned(),
        key: (&raw const *key).expose_provenance() as u64,
        value: (&raw mut value).expose_provenance() as u64,
        ..Element::zeroed()
    };
    // SAFETY: the kernel reads one key and writes one value, of the sizes that the map was made with; both outlive the
    // call.
    match unsafe { bpf(MAP_LOOKUP_AND_DELETE_ELEM, &mut attributes) } {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
