//! Netfilter: first and last of all in each of its hooks.

use aya_ebpf::programs::SkBuffContext;

/// What the first program of a hook sees.
#[inline(always)]
pub(crate) fn see_first(_: &SkBuffContext) {}

/// What the last program of a hook sees.
#[inline(always)]
pub(crate) fn see_last(_: &SkBuffContext) {}
