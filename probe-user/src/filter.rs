//! What drops echo packets on purpose, as plain data: rules that are asked in turn, and guards that remember requests.

pub mod guard;
pub mod rules;
