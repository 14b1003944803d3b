//! The kernel programs, run by the kernel on frames that never were on a wire (`BPF_PROG_TEST_RUN`): bytes in, action
//! and counters out.

mod loaded;
mod random;
pub(crate) mod ready;
mod samples;

mod branches;
mod capture;
mod differential;
mod filter;
mod flows;
mod guard;
mod inner;
mod long;
mod matrix;
mod model;
mod old;
mod privilege;
mod requests;
mod rows;
mod rules;
