//! Look-ups on the real kernel: each finding is there with its fault, and not without.

mod bench;
mod chains;
mod counters;
mod neighbours;
mod programs;
mod settings;
mod trace_rules;
