//! `probe filter guard` end to end, in network namespaces and with a bpffs of the tests' own.

mod common;
#[allow(dead_code, reason = "tests of filters use more of it")]
#[path = "filter/host.rs"]
mod host;
#[path = "common/net.rs"]
mod net;
#[path = "common/run.rs"]
mod run;

#[path = "guard/group.rs"]
mod group;
#[path = "guard/input.rs"]
mod input;
#[path = "guard/killed.rs"]
mod killed;
#[path = "guard/lifetime.rs"]
mod lifetime;
#[path = "guard/named.rs"]
mod named;
#[path = "guard/options.rs"]
mod options;
#[path = "guard/router.rs"]
mod router;
#[path = "guard/talk.rs"]
mod talk;
