//! Arrays of the kernel programs as memory of this process: reading them costs no system call.

use std::{ffi::c_void, num::NonZeroUsize, os::fd::AsFd, ptr::NonNull, slice, sync::atomic::AtomicU64};

use aya::{Ebpf, maps::Map};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::KernelError;

/// An array map (`BPF_F_MMAPABLE`) in this process's memory.
#[derive(Debug)]
pub struct Mapped {
    start: NonNull<c_void>,
    bytes: NonZeroUsize,
}

// SAFETY: the memory is shared with the kernel anyway, and only reached through atomics.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the `bytes` of the array behind `map`; `bytes` must not exceed the array.
    pub fn new(map: impl AsFd, bytes: NonZeroUsize) -> nix::Result<Self> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(Self { start, bytes })
    }

    /// Takes the array map `name` of so many entries of `size` bytes out of `programs`.
    ///
    /// # Errors
    /// [`KernelError::NoMap`] if it is not loaded in that size, [`KernelError::Memory`] if memory is short.
    pub fn take(programs: &mut Ebpf, name: &'static str, entries: u32, size: usize) -> Result<Self, KernelError> {
        let Some(Map::Array(array)) = programs.take_map(name) else { return Err(KernelError::NoMap { name }) };
        let there = array.info().map_err(|source| KernelError::of_map(name, source))?.max_entries();
        let bytes = NonZeroUsize::new(entries as usize * size).filter(|_| there == entries);
        let bytes = bytes.ok_or(KernelError::NoMap { name })?;
        Self::new(array.fd(), bytes).map_err(|source| KernelError::Memory { name, source })
    }

    /// Returns the array as 8-byte words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, lives as long as `self`, and any bytes are valid atomics; the kernel
        // writes to it, which is what atomics are for.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes.get() / 8) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: unmaps exactly what `new` mapped; no slice of it outlives `self`. A failure leaves it until exit.
        let _ = unsafe { munmap(self.start, self.bytes.get()) };
    }
}
