//! Look-ups on the real kernel: each finding is there with its fault, and not without.

#[path = "lookups/bench.rs"]
mod bench;
#[path = "lookups/chains.rs"]
mod chains;
mod common;
#[path = "lookups/counters.rs"]
mod counters;
#[path = "lookups/neighbours.rs"]
mod neighbours;
#[path = "lookups/programs.rs"]
mod programs;
#[path = "lookups/settings.rs"]
mod settings;
#[path = "lookups/trace_rules.rs"]
mod trace_rules;
