//! Journeys and drop events on the real kernel, in the lab: which hop saw which probe, and who dropped it and why.

mod common;
#[path = "trace/faults.rs"]
mod faults;
#[path = "trace/frames.rs"]
mod frames;
#[path = "trace/healthy.rs"]
mod healthy;
#[path = "trace/ping.rs"]
mod ping;
#[path = "trace/privilege.rs"]
mod privilege;
#[path = "trace/strangers.rs"]
mod strangers;
#[path = "trace/watched.rs"]
mod watched;
