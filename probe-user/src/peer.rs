//! The far end: what watches there, the language that it speaks over any stdin and stdout, and both of its ends.

pub mod agent;
pub mod command;
pub mod protocol;
pub mod route;

pub use agent::AgentSetup;
pub use command::{Peer, PeerOptions, Trouble};
