//! `probe filter`.

use super::{Outcome, Screen};
use crate::{cli::filter::Filter, error::Failure};

/// Runs `probe filter`.
pub fn run(_args: &Filter, _screen: &Screen) -> Outcome {
    Err(Failure::new("not built yet", ""))
}
