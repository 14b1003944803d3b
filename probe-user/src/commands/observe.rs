//! `probe observe`.

use super::{Outcome, Screen};
use crate::{cli::observe::Observe, error::Failure};

/// Runs `probe observe`.
pub fn run(_args: &Observe, _screen: &Screen) -> Outcome {
    Err(Failure::new("not built yet", ""))
}
