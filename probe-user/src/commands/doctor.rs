//! `probe doctor`.

use super::{Outcome, Screen};
use crate::{cli::doctor::Doctor, error::Failure};

/// Runs `probe doctor`.
pub fn run(_args: &Doctor, _screen: &Screen) -> Outcome {
    Err(Failure::new("not built yet", ""))
}
