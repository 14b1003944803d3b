//! Bad input and trouble: one clear line with its fix, exit 2, and nothing left behind. The lab end to end.

mod common;
#[path = "common/copy.rs"]
mod copy;
#[path = "common/net.rs"]
mod net;
#[path = "common/run.rs"]
mod run;

#[path = "trouble/input.rs"]
mod input;
#[path = "trouble/lab.rs"]
mod lab;
#[path = "trouble/privilege.rs"]
mod privilege;
