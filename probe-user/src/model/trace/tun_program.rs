//! A program that reads what the kernel sends through a tun or tap device.

use serde::{Deserialize, Serialize};

/// A process that holds such a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunProgram {
    /// The name of its program.
    pub program: String,
    /// Its process id.
    pub pid: u32,
    /// How many sockets it has open: with none it cannot send anything on.
    pub sockets: u32,
}

impl TunProgram {
    /// Returns its name for people.
    pub fn name(&self) -> String {
        format!("{} (pid {})", self.program, self.pid)
    }
}
