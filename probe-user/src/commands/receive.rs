//! `probe receive`.

use super::{Outcome, Screen};
use crate::{cli::receive::Receive, error::Failure};

/// Runs `probe receive`.
pub fn run(_args: &Receive, _screen: &Screen) -> Outcome {
    Err(Failure::new("not built yet", ""))
}
