//! `probe send` end to end, in network namespaces of the tests' own.

mod net;
mod wire;

mod fields;
mod input;
mod privilege;
mod refusals;
mod signals;
