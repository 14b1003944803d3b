//! The user half of probe: everything that the `probe` binary does, as a library for it, the tests and the benches.
//!
//! Data flows one way: hop → tally → [`snapshot`] → ledger → report. `ARCHITECTURE.md` has the map.

pub mod attach;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod datasheet;
pub mod device;
pub mod diagnosis;
pub mod error;
pub mod exit;
pub mod experiment;
pub mod guard;
pub mod ids;
pub mod kernel;
pub mod lab;
pub mod ledger;
pub mod observation;
pub mod path;
pub mod peer;
pub mod player;
pub mod prefix;
pub mod report;
pub mod rtt;
pub mod rules;
pub mod sighting;
mod signals;
#[cfg(test)]
mod skip;
pub mod snapshot;
pub mod stop;
pub mod timeline;
pub mod traffic;
pub mod watching;
pub mod words;
