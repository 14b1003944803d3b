//! The lab: two hosts and a stateful firewall between them, in network namespaces of this machine.
//!
//! Everything here either owns what it makes and removes it when dropped, or is plain data.

pub mod baseline;
pub mod error;
pub mod fault;
pub mod firewall;
pub mod inventory;
pub mod lessons;
pub mod model;
pub mod netns;
pub mod plan;
pub mod standing;
pub mod tc_program;
pub mod topology;
mod wire;

pub use error::LabError;
pub use netns::Netns;
pub use plan::{LabHost, Nic};
pub use tc_program::attach_tc_program;
pub use topology::Topology;
