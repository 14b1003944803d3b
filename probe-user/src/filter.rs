//! What drops echo packets on purpose, as plain data: rules that are tried in order, and guards that remember requests.

pub mod guard;
pub mod rules;
