//! peer
pub mod watching;
