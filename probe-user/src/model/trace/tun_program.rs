//! A program that reads what the kernel sends through a tun or tap device.

use serde::{Deserialize, Serialize};

/// A process that holds such a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunProgram {
    /// The name of its program.
    pub program: String,
    /// Its process id.
    pub pid: u32,
    /// How many sockets it has open: with none it cannot send anything on.
    pub sockets: u32,
    /// The UDP ports of its sockets in the network namespace of the device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// How many of its sockets are TCP connections there: what it sends by them is not followed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub connections: u32,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

impl TunProgram {
    /// Returns its name for people.
    pub fn name(&self) -> String {
        format!("{} (pid {})", self.program, self.pid)
    }
}

/// What a tun or tap device counted, as its programs see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunCounts {
    /// How many packets they read from it.
    pub read: u64,
    /// How many they wrote to it.
    pub written: u64,
    /// How many found its queue full, or nobody who held it.
    pub refused: u64,
}

impl TunCounts {
    /// Returns what was counted since `before`; all of it if the device was made anew since.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        if self.read < before.read || self.written < before.written || self.refused < before.refused {
            return self;
        }
        Self {
            read: self.read - before.read,
            written: self.written - before.written,
            refused: self.refused - before.refused,
        }
    }
}

/// Returns their names for people.
pub fn names(programs: &[TunProgram]) -> String {
    programs.iter().map(TunProgram::name).collect::<Vec<_>>().join(" and ")
}
