//! Atomic addition, which rustc does not offer for BPF.

/// Adds `value` to `*target` atomically.
///
/// # Safety
///
/// `target` must be valid for writes and aligned to 8 bytes.
#[inline(always)]
pub(crate) unsafe fn add_u64(target: *mut u64, value: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: one atomic instruction on the 8 bytes at `target`, which the caller vouches for.
    unsafe {
        core::arch::asm!("lock *(u64 *)({target} + 0) += {value}", target = in(reg) target, value = in(reg) value);
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: as the caller promises.
    unsafe {
        core::sync::atomic::AtomicU64::from_ptr(target).fetch_add(value, core::sync::atomic::Ordering::Relaxed);
    }
}

/// Adds `value` to `*target` atomically.
///
/// # Safety
///
/// `target` must be valid for writes and aligned to 4 bytes.
#[inline(always)]
pub(crate) unsafe fn add_u32(target: *mut u32, value: u32) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: one atomic instruction on the 4 bytes at `target`, which the caller vouches for.
    unsafe {
        core::arch::asm!("lock *(u32 *)({target} + 0) += {value}", target = in(reg) target, value = in(reg) u64::from(value));
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: as the caller promises.
    unsafe {
        core::sync::atomic::AtomicU32::from_ptr(target).fetch_add(value, core::sync::atomic::Ordering::Relaxed);
    }
}

/// Adds `value` to `*target` atomically, and returns the previous value.
///
/// # Safety
///
/// `target` must be valid for writes and aligned to 8 bytes.
#[inline(always)]
pub(crate) unsafe fn fetch_add_u64(target: *mut u64, value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = value;
        // SAFETY: one atomic instruction on the 8 bytes at `target`, which the caller vouches for.
        unsafe {
            core::arch::asm!("{value} = atomic_fetch_add((u64 *)({target} + 0), {value})",
                target = in(reg) target, value = inout(reg) value);
        }
        value
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: as the caller promises.
    unsafe {
        core::sync::atomic::AtomicU64::from_ptr(target).fetch_add(value, core::sync::atomic::Ordering::SeqCst)
    }
}

/// Writes `new` to `*target` if it holds `expected`, and returns the previous value.
///
/// # Safety
///
/// `target` must be valid for writes and aligned to 8 bytes.
#[inline(always)]
pub(crate) unsafe fn compare_exchange_u64(target: *mut u64, expected: u64, new: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    {
        let mut found = expected;
        // SAFETY: one atomic instruction on the 8 bytes at `target`, which the caller vouches for. Its result is in r0.
        unsafe {
            core::arch::asm!("r0 = cmpxchg_64({target} + 0, r0, {new})",
                target = in(reg) target, new = in(reg) new, inout("r0") found);
        }
        found
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: as the caller promises.
    unsafe {
        use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
        AtomicU64::from_ptr(target).compare_exchange(expected, new, SeqCst, SeqCst).unwrap_or_else(|found| found)
    }
}
