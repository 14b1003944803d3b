//! The key of a loss counter.

use std::collections::BTreeMap;

/// The key of a counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterKey {
    /// Its name in [`crate::model::trace::Finding::Counter`].
    pub name: String,
    /// Its owner, if several counters of one name come and go: the inode of a socket; else 0.
    pub owner: u64,
}

impl CounterKey {
    /// Returns the key of a counter that exists as long as the namespace does.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), owner: 0 }
    }
}

/// Counters by key.
pub type Counters = BTreeMap<CounterKey, u64>;
