//! The user half of probe: everything that the `probe` binary does, as a library for it, the tests and the benches.
//!
//! `ARCHITECTURE.md` draws a packet's path through it.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod diagnosis;
pub mod ebpf;
pub mod error;
pub mod exit;
pub mod filter;
pub mod harmless;
pub mod host;
pub mod lab;
pub mod middlebox;
pub mod model;
pub mod observation;
pub mod peer;
pub mod report;
mod signals;
#[cfg(test)]
mod skip;
pub mod stop;
pub mod traffic;
pub mod watch;
