//! The types that all stages share, as plain data: what was requested, what was counted, what a host saw, how a run
//! ended.

pub mod attach;
pub mod duration;
pub mod followed;
pub mod ids;
pub mod netfilter;
pub mod prefix;
pub mod request;
pub mod rtt;
pub mod sent_as;
pub mod snapshot;
pub mod stage;
pub mod toml_fault;
pub mod trace;
pub mod verdict;
