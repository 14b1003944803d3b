//! The kernel half as the user half sees it: the only module that knows aya.

pub mod object;
//! kernel

pub mod bpf_sys;
pub mod foreign;
pub mod privilege;
pub mod trial;
