//! The guard as plain data: what it can be told, and a model of what it does.

pub mod model;
pub mod options;

pub use options::{CodeRule, Enforce, GuardOptions, Protect, Refresh, RequestPolicy, StateKey};
