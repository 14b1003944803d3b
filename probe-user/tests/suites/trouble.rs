//! Bad input and trouble: one clear line with its fix, exit 2, and nothing left behind. The lab end to end.

mod input;
mod lab;
mod privilege;
