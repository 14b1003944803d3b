//! `probe send` end to end, in network namespaces of the tests' own.

mod common;
#[path = "common/copy.rs"]
mod copy;
#[path = "send/net.rs"]
mod net;
#[path = "send/wire.rs"]
mod wire;

#[path = "send/fields.rs"]
mod fields;
#[path = "send/input.rs"]
mod input;
#[path = "send/privilege.rs"]
mod privilege;
#[path = "send/refusals.rs"]
mod refusals;
#[path = "send/signals.rs"]
mod signals;
