//! Scripted experiments over two ends: who sends what and when, what is expected where, and what the outcome means.
//! Pure: a [`Script`] is read from a file, [`plan`] makes a timeline of it, [`outcome`] says what its run shows.

pub mod account;
pub mod builtin;
mod file;
pub mod outcome;
pub mod plan;
mod script;
pub mod way;

pub use self::{
    file::ScriptError,
    script::{Address, Expect, OutcomeMeaning, Script, ScriptPacket, ScriptStep, Sends, StepRole},
};
