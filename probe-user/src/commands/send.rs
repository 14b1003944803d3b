//! `probe send`.

use super::{Outcome, Screen};
use crate::{cli::send::Send, error::Failure};

/// Runs `probe send`.
pub fn run(_args: &Send, _screen: &Screen) -> Outcome {
    Err(Failure::new("not built yet", ""))
}
