//! The far end of a run: the agent that watches there, the peer protocol over any stdin and stdout, and the near end's
//! client.

pub mod agent;
pub mod clock;
pub mod command;
pub mod protocol;
pub mod route;

pub use agent::AgentSetup;
pub use command::{Peer, PeerOptions, Trouble};
