//! The kernel half as the user half sees it: the only module that knows aya.

pub mod object;
