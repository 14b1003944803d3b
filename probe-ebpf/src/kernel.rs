//! Everything that runs in the kernel, one subject per file.

pub(crate) mod absorb;
pub(crate) mod atomic;
pub(crate) mod capture;
pub(crate) mod config;
pub(crate) mod crossing;
pub(crate) mod disposition;
pub(crate) mod drop_config;
pub(crate) mod drops;
pub(crate) mod event_site;
pub(crate) mod filter;
pub(crate) mod flows;
pub(crate) mod follow;
pub(crate) mod guard;
pub(crate) mod hook;
pub(crate) mod hops;
pub(crate) mod journey;
pub(crate) mod maps;
pub(crate) mod neighbour;
pub(crate) mod numbered;
pub(crate) mod offsets;
pub(crate) mod reader;
pub(crate) mod respond;
pub(crate) mod sealed;
pub(crate) mod skb;
pub(crate) mod skip;
pub(crate) mod tally;
