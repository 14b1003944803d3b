//! `probe receive` end to end, in network namespaces of the tests' own.

mod common;
#[path = "common/net.rs"]
mod net;
#[path = "common/run.rs"]
mod run;

#[path = "receive/absorb.rs"]
mod absorb;
#[path = "receive/choice.rs"]
mod choice;
#[path = "receive/ends.rs"]
mod ends;
#[path = "receive/fields.rs"]
mod fields;
