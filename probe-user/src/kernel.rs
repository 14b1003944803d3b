//! kernel

pub mod bpf_sys;
pub mod foreign;
pub mod privilege;
pub mod trial;
