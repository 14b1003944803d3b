//! `probe filter` end to end, in network namespaces and with a bpffs of the tests' own.

mod actions;
mod diagnosed;
mod drops;
mod held;
mod hooks;
pub(crate) mod host;
mod killed;
mod mounts;
mod places;
mod rules;
mod steps;
