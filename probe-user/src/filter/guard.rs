//! The guard as plain data: its options, and a model of what it does.

pub mod model;
pub mod options;

pub use options::{CodeRule, Enforce, GuardOptions, Protect, Refresh, RequestPolicy, StateKey};
