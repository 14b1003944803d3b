//! `probe filter guard` end to end, in network namespaces and with a bpffs of the tests' own.

mod group;
mod input;
mod killed;
mod lifetime;
mod named;
mod options;
mod router;
mod talk;
