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

/// How often a number is tried for: that often others would have to count in the same few nanoseconds.
const TRIES: u32 = 4;

/// Takes the next number of those that `*count` gives: no two processors get the same. `None` if others counted at the same
/// time at each try; numbers that nobody got are left out.
///
/// Linux has an addition that returns the previous value only since 5.12, and kernels before that refuse a program that
/// holds one, reached or not. So the number is this processor's if nobody else counted between its two looks: of those that
/// saw the same number, all that count after the first see a larger one at their second look.
///
/// # Safety
///
/// `count` must be valid for reads and writes and aligned to 8 bytes.
#[inline(always)]
pub(crate) unsafe fn take_number(count: *mut u64) -> Option<u64> {
    for _ in 0..TRIES {
        // SAFETY: the caller vouches for `count`.
        let (before, after) = unsafe {
            let before = count.read_volatile();
            add_u64(count, 1);
            (before, count.read_volatile())
        };
        if after == before.wrapping_add(1) {
            return Some(before);
        }
    }
    None
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
