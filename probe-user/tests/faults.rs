//! The fault catalogue on the real kernel: each fault breaks exactly what it says, and healthy cases deliver.

mod common;
#[path = "faults/counts.rs"]
mod counts;
#[path = "faults/events.rs"]
mod events;
#[path = "faults/truth.rs"]
mod truth;
