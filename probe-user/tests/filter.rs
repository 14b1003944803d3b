//! `probe filter` end to end, in network namespaces and with a bpffs of the tests' own.

mod common;
#[path = "common/net.rs"]
mod net;
#[path = "common/run.rs"]
mod run;

#[path = "filter/actions.rs"]
mod actions;
#[path = "filter/diagnosed.rs"]
mod diagnosed;
#[path = "filter/drops.rs"]
mod drops;
#[path = "filter/held.rs"]
mod held;
#[path = "filter/hooks.rs"]
mod hooks;
#[path = "filter/host.rs"]
mod host;
#[path = "filter/killed.rs"]
mod killed;
#[path = "filter/mounts.rs"]
mod mounts;
#[path = "filter/places.rs"]
mod places;
#[path = "filter/rules.rs"]
mod rules;
#[path = "filter/steps.rs"]
mod steps;
