//! The kernel programs, run by the kernel on frames that never were on a wire (`BPF_PROG_TEST_RUN`): bytes in, action
//! and counters out.

mod common;
#[path = "kernel/loaded.rs"]
mod loaded;
#[path = "kernel/random.rs"]
mod random;
#[path = "kernel/ready.rs"]
mod ready;
#[path = "kernel/samples.rs"]
mod samples;

#[path = "kernel/branches.rs"]
mod branches;
#[path = "kernel/capture.rs"]
mod capture;
#[path = "kernel/differential.rs"]
mod differential;
#[path = "kernel/filter.rs"]
mod filter;
#[path = "kernel/flows.rs"]
mod flows;
#[path = "kernel/guard.rs"]
mod guard;
#[path = "kernel/long.rs"]
mod long;
#[path = "kernel/matrix.rs"]
mod matrix;
#[path = "kernel/model.rs"]
mod model;
#[path = "kernel/privilege.rs"]
mod privilege;
#[path = "kernel/requests.rs"]
mod requests;
#[path = "kernel/rows.rs"]
mod rows;
#[path = "kernel/rules.rs"]
mod rules;
