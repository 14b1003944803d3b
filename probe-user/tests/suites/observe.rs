//! `probe observe` end to end, in network namespaces of the tests' own.

mod attached;
mod counts;
mod devices;
mod ends;
mod loss;
mod output;
mod row;
mod shared;
mod starts;
