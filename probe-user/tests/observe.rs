//! `probe observe` end to end, in network namespaces of the tests' own.

mod common;
#[path = "common/net.rs"]
mod net;
#[path = "common/run.rs"]
mod run;
#[path = "common/tun.rs"]
mod tun;

#[path = "observe/attached.rs"]
mod attached;
#[path = "observe/counts.rs"]
mod counts;
#[path = "observe/devices.rs"]
mod devices;
#[path = "observe/ends.rs"]
mod ends;
#[path = "observe/loss.rs"]
mod loss;
#[path = "observe/output.rs"]
mod output;
#[path = "observe/row.rs"]
mod row;
#[path = "observe/shared.rs"]
mod shared;
#[path = "observe/starts.rs"]
mod starts;
