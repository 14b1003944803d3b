//! The contract between probe's kernel programs and its user half: plain data, names, and the packet parser.
//!
//! Everything that crosses the border is [`bytemuck::Pod`]: no padding, no `bool`, no `Option`, no enum.
//! The two halves are built by different compilers, so nothing may depend on a layout that Rust leaves open.
//! Multi-byte numbers are in host byte order; addresses are in wire order, IPv4 as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
#![no_std]

#[cfg(test)]
extern crate std;

pub mod contract;
pub mod packet;

pub use contract::*;

/// The version of everything in [`contract`]. It changes with any change of a map's key, value or meaning, so that pinned
/// maps of another build, and a far end of another build, are refused with both numbers.
pub const ABI_VERSION: u32 = 6;
