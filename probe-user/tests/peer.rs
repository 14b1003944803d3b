//! Marked probes in the lab, and far ends over pipes: those that serve, and every way in which a command does not.

#[path = "peer/children.rs"]
mod children;
#[path = "peer/commands.rs"]
mod commands;
mod common;
#[path = "peer/deploy.rs"]
mod deploy;
#[path = "peer/hostile.rs"]
mod hostile;
#[path = "peer/probes.rs"]
mod probes;
#[path = "peer/responders.rs"]
mod responders;
#[path = "common/tun.rs"]
mod tun;
#[path = "peer/verbs.rs"]
mod verbs;
#[path = "peer/volleys.rs"]
mod volleys;
