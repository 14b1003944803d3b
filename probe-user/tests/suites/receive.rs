//! `probe receive` end to end, in network namespaces of the tests' own.

mod absorb;
mod choice;
mod ends;
mod fields;
