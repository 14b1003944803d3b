//! The user side of the kernel programs: loads and attaches them, reads their maps. The only importer of aya.

pub mod absorbed;
pub mod batch;
pub mod border;
pub mod bpf_sys;
pub mod bpffs;
pub mod btf;
pub mod drops;
pub mod error;
pub mod filter;
pub mod flows;
pub mod foreign;
pub mod guard;
pub mod hops;
pub mod journeys;
pub mod load;
pub mod log;
pub mod memory;
pub mod meter;
pub mod object;
pub mod offsets;
pub mod path_watch;
pub mod pins;
pub mod privilege;
pub mod process;
pub mod ring;
pub mod running;
pub mod symbols;
pub mod tallies;
pub mod trial;
pub mod under_way;
pub mod watch;

pub mod lookups;
pub mod netfilter;

pub use error::Error;
