//! A counter of losses: what it is known by.

use std::collections::BTreeMap;

/// A counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CounterKey {
    /// Its name in [`crate::model::trace::Finding::Counter`].
    pub name: String,
    /// Whose it is, where several of one name come and go: the inode of a socket; else 0.
    pub owner: u64,
}

impl CounterKey {
    /// A counter that stays for as long as the namespace does.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), owner: 0 }
    }
}

/// Counters by key.
pub type Counters = BTreeMap<CounterKey, u64>;
