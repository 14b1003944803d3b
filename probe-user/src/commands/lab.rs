//! `probe lab`.

use super::{Outcome, Screen};
use crate::{cli::lab::Lab, error::Failure};

/// Runs `probe lab`.
pub fn run(_args: &Lab, _screen: &Screen) -> Outcome {
    Err(Failure::new("not built yet", ""))
}
