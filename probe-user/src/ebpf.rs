//! The user side of the kernel programs: loads and attaches them, reads and pins their maps. The only importer of aya.

pub mod absorbed;
pub mod attaching;
pub mod batch;
pub mod border;
pub mod bpf_sys;
pub mod bpffs;
pub mod crossings;
pub mod drops;
pub mod error;
pub mod filter;
pub mod flows;
pub mod followed;
pub mod foreign;
pub mod guard;
pub mod hooks;
pub mod hops;
pub mod journeys;
pub mod load;
pub mod log;
pub mod memory;
pub mod neighbours;
pub mod netfilter;
pub mod nic;
pub mod object;
pub mod old_kernel;
pub mod pins;
pub mod ring;
pub mod running;
pub mod tallies;
pub mod trial;
pub mod tunnels;
pub mod words;

pub use aya::Ebpf;
pub use error::KernelError;
